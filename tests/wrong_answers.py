"""Plausible wrong answers to every exercise: the checks must refuse each of them."""

WRONG = {
    ("00_start_here", 1): {
        "a count": "def share_correct(answers, labels):\n    return np.sum(answers == labels)",
        "divided by four": (
            "def share_correct(answers, labels):\n    return np.sum(answers == labels) / 4"
        ),
        "the share of errors": (
            "def share_correct(answers, labels):\n    return np.mean(answers != labels)"
        ),
        "in percent": (
            "def share_correct(answers, labels):\n    return 100 * np.mean(answers == labels)"
        ),
    },
    ("01_mnist_dense", 1): {
        "overflow": (
            "def my_log_softmax(logits):\n"
            "    with np.errstate(all='ignore'):\n"
            "        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))"
        ),
        "the largest of all rows": (
            "def my_log_softmax(logits):\n"
            "    shifted = logits - logits.max()\n"
            "    with np.errstate(all='ignore'):\n"
            "        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))"
        ),
        "logarithm of a softmax": (
            "def my_log_softmax(logits):\n"
            "    exp = np.exp(logits - logits.max(axis=1, keepdims=True))\n"
            "    with np.errstate(all='ignore'):\n"
            "        return np.log(exp / exp.sum(axis=1, keepdims=True))"
        ),
        "the mean of each row": (
            "def my_log_softmax(logits):\n"
            "    shifted = logits - logits.mean(axis=1, keepdims=True)\n"
            "    with np.errstate(all='ignore'):\n"
            "        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))"
        ),
        "sum over everything": (
            "def my_log_softmax(logits):\n"
            "    shifted = logits - logits.max(axis=1, keepdims=True)\n"
            "    return shifted - np.log(np.exp(shifted).sum())"
        ),
    },
    ("01_mnist_dense", 2): {
        "no biases": (
            "def count_parameters(sizes):\n    return sum(a * b for a, b in zip(sizes, sizes[1:]))"
        ),
        "biases of the input too": (
            "def count_parameters(sizes):\n"
            "    return sum(a * b for a, b in zip(sizes, sizes[1:])) + sum(sizes)"
        ),
        "only two layers": (
            "def count_parameters(sizes):\n    a, b, c = sizes\n    return a * b + b + b * c + c"
        ),
    },
    ("01_mnist_dense", 3): {
        "not rounded up": (
            "def images_needed(accuracy, half_width):\n"
            "    return round(accuracy * (1 - accuracy) * (1.96 / half_width) ** 2)"
        ),
        "no square": (
            "def images_needed(accuracy, half_width):\n"
            "    return math.ceil(accuracy * (1 - accuracy) * 1.96 / half_width)"
        ),
        "points instead of shares": (
            "def images_needed(accuracy, half_width):\n"
            "    return math.ceil(accuracy * (1 - accuracy) * (1.96 / (100 * half_width)) ** 2)"
        ),
        "the whole width": (
            "def images_needed(accuracy, half_width):\n"
            "    return math.ceil(accuracy * (1 - accuracy) * (1.96 / (half_width / 2)) ** 2)"
        ),
    },
}
