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
    ("02_loss_functions", 1): {
        "the sign outside": (
            "def huber_slope(error, delta):\n"
            "    return np.where(np.abs(error) <= delta, error, np.sign(error))"
        ),
        "no sign outside": (
            "def huber_slope(error, delta):\n"
            "    return np.where(np.abs(error) <= delta, error, delta)"
        ),
        "of the square, not halved": (
            "def huber_slope(error, delta):\n    return np.clip(2 * error, -delta, delta)"
        ),
        "the loss itself": (
            "def huber_slope(error, delta):\n"
            "    size = np.abs(error)\n"
            "    return np.where(size <= delta, error**2 / 2, delta * (size - delta / 2))"
        ),
        "truth less prediction": (
            "def huber_slope(error, delta):\n    return -np.clip(error, -delta, delta)"
        ),
    },
    ("02_loss_functions", 2): {
        "sides swapped": (
            "def pinball(error, q):\n    return np.where(error < 0, (q - 1) * error, q * error)"
        ),
        "negative costs": (
            "def pinball(error, q):\n    return np.where(error < 0, q * error, (1 - q) * error)"
        ),
        "squared": ("def pinball(error, q):\n    return np.where(error < 0, q, 1 - q) * error**2"),
        "absolute error": "def pinball(error, q):\n    return np.abs(error) / 2",
        "twice": (
            "def pinball(error, q):\n    return 2 * np.where(error < 0, q, 1 - q) * np.abs(error)"
        ),
    },
    ("02_loss_functions", 3): {
        "divided by the weight": "def undo_weights(r, w):\n    return r / w",
        "the weights once more": ("def undo_weights(r, w):\n    return w * r / (w * r + 1 - r)"),
        "the odds": "def undo_weights(r, w):\n    return r / (1 - r) / w",
        "the weight on the wrong side": (
            "def undo_weights(r, w):\n    return (1 - r) / (1 - r + w * r)"
        ),
    },
    ("05_lstm_text_generator", 1): {
        "perplexity of the sum": (
            "def yardsticks(nats, tokens, characters):\n"
            "    return np.exp(nats), nats / np.log(2) / characters"
        ),
        "nats for each character": (
            "def yardsticks(nats, tokens, characters):\n"
            "    return np.exp(nats / tokens), nats / characters"
        ),
        "times, not divided": (
            "def yardsticks(nats, tokens, characters):\n"
            "    return np.exp(nats / tokens), nats * np.log(2) / characters"
        ),
        "bits for each token": (
            "def yardsticks(nats, tokens, characters):\n"
            "    return np.exp(nats / tokens), nats / np.log(2) / tokens"
        ),
    },
    ("05_lstm_text_generator", 2): {
        "a threshold": (
            "def top_p(probabilities, p):\n"
            "    kept = np.where(np.asarray(probabilities) >= 1 - p, probabilities, 0)\n"
            "    return kept / kept.sum()"
        ),
        "without the one that crosses": (
            "def top_p(probabilities, p):\n"
            "    probabilities = np.asarray(probabilities)\n"
            "    order = np.argsort(-probabilities)\n"
            "    kept = np.zeros(len(order), bool)\n"
            "    kept[order] = np.cumsum(probabilities[order]) <= p + 1e-9\n"
            "    return probabilities * kept / max(1e-9, probabilities[kept].sum())"
        ),
        "not rescaled": (
            "def top_p(probabilities, p):\n"
            "    probabilities = np.asarray(probabilities)\n"
            "    order = np.argsort(-probabilities)\n"
            "    before = np.cumsum(probabilities[order]) - probabilities[order]\n"
            "    kept = np.zeros(len(order), bool)\n"
            "    kept[order] = before < p - 1e-9\n"
            "    return probabilities * kept"
        ),
        "in sorted order": (
            "def top_p(probabilities, p):\n"
            "    ordered = -np.sort(-np.asarray(probabilities))\n"
            "    before = np.cumsum(ordered) - ordered\n"
            "    kept = ordered * (before < p - 1e-9)\n"
            "    return kept / kept.sum()"
        ),
    },
    ("05_lstm_text_generator", 3): {
        "weights as they are": (
            "def template_entropy(slots):\n"
            "    return -sum(w * np.log2(w) for weights in slots for w in weights if w > 0)"
        ),
        "zero times infinity": (
            "def template_entropy(slots):\n"
            "    bits = 0\n"
            "    with np.errstate(all='ignore'):\n"
            "        for weights in slots:\n"
            "            p = np.array(weights) / sum(weights)\n"
            "            bits -= np.sum(p * np.log2(p))\n"
            "    return bits"
        ),
        "in nats": (
            "def template_entropy(slots):\n"
            "    bits = 0\n"
            "    for weights in slots:\n"
            "        p = np.array([w for w in weights if w]) / sum(weights)\n"
            "        bits -= np.sum(p * np.log(p))\n"
            "    return bits"
        ),
        "counts of fillings": (
            "def template_entropy(slots):\n"
            "    return sum(np.log2(np.count_nonzero(weights)) for weights in slots)"
        ),
    },
    ("03_optimizers", 1): {
        "plain momentum": (
            "def nesterov(w, g, state, rate=0.01, beta=0.9):\n"
            "    state['m'] = beta * state['m'] - rate * g\n"
            "    return w + state['m']"
        ),
        "with the old velocity": (
            "def nesterov(w, g, state, rate=0.01, beta=0.9):\n"
            "    old = state['m']\n"
            "    state['m'] = beta * old - rate * g\n"
            "    return w + beta * old - rate * g"
        ),
        "the velocity is not kept": (
            "def nesterov(w, g, state, rate=0.01, beta=0.9):\n"
            "    m = beta * state['m'] - rate * g\n"
            "    return w + beta * m - rate * g"
        ),
    },
    ("03_optimizers", 2): {
        "the largest alone": (
            "def clip_by_global_norm(gradients, limit):\n"
            "    largest = max(np.linalg.norm(g) for g in gradients)\n"
            "    whole = np.sqrt(sum(np.sum(g**2) for g in gradients))\n"
            "    return [g * limit / whole if largest > limit else g for g in gradients]"
        ),
        "each by itself": (
            "def clip_by_global_norm(gradients, limit):\n"
            "    norms = [max(np.linalg.norm(g), limit) for g in gradients]\n"
            "    return [g * limit / norm for g, norm in zip(gradients, norms)]"
        ),
        "always as long as the limit": (
            "def clip_by_global_norm(gradients, limit):\n"
            "    norm = np.sqrt(sum(np.sum(g**2) for g in gradients)) + 1e-12\n"
            "    return [g * limit / norm for g in gradients]"
        ),
        "norms added up": (
            "def clip_by_global_norm(gradients, limit):\n"
            "    norm = sum(np.linalg.norm(g) for g in gradients)\n"
            "    return [g * limit / max(norm, limit) for g in gradients]"
        ),
        "nothing over nothing": (
            "def clip_by_global_norm(gradients, limit):\n"
            "    norm = np.sqrt(sum(np.sum(g**2) for g in gradients))\n"
            "    with np.errstate(all='ignore'):\n"
            "        return [g * np.fmin(limit, norm) / norm for g in gradients]"
        ),
    },
    ("03_optimizers", 3): {
        "begins at zero": (
            "class WarmUp(keras.optimizers.schedules.LearningRateSchedule):\n"
            "    def __init__(self, rate, warmup_steps):\n"
            "        self.rate, self.warmup_steps = rate, warmup_steps\n"
            "    def __call__(self, step):\n"
            "        share = keras.ops.cast(step, 'float32') / self.warmup_steps\n"
            "        return self.rate * keras.ops.minimum(share, 1.0)\n"
            "    def get_config(self):\n"
            "        return {'rate': self.rate, 'warmup_steps': self.warmup_steps}"
        ),
        "rises for ever": (
            "class WarmUp(keras.optimizers.schedules.LearningRateSchedule):\n"
            "    def __init__(self, rate, warmup_steps):\n"
            "        self.rate, self.warmup_steps = rate, warmup_steps\n"
            "    def __call__(self, step):\n"
            "        return self.rate * (keras.ops.cast(step, 'float32') + 1) / self.warmup_steps\n"
            "    def get_config(self):\n"
            "        return {'rate': self.rate, 'warmup_steps': self.warmup_steps}"
        ),
        "looks at the step in Python": (
            "class WarmUp(keras.optimizers.schedules.LearningRateSchedule):\n"
            "    def __init__(self, rate, warmup_steps):\n"
            "        self.rate, self.warmup_steps = rate, warmup_steps\n"
            "    def __call__(self, step):\n"
            "        if step < self.warmup_steps:\n"
            "            return self.rate * (float(step) + 1) / self.warmup_steps\n"
            "        return self.rate\n"
            "    def get_config(self):\n"
            "        return {'rate': self.rate, 'warmup_steps': self.warmup_steps}"
        ),
        "cannot be saved": (
            "class WarmUp(keras.optimizers.schedules.LearningRateSchedule):\n"
            "    def __init__(self, rate, warmup_steps):\n"
            "        self.rate, self.warmup_steps = rate, warmup_steps\n"
            "    def __call__(self, step):\n"
            "        share = (keras.ops.cast(step, 'float32') + 1) / self.warmup_steps\n"
            "        return self.rate * keras.ops.minimum(share, 1.0)\n"
            "    def get_config(self):\n"
            "        return {'rate': self.rate}"
        ),
    },
    ("04_tokenizers", 1): {
        "code points": "def utf8_length(text):\n    return len(text)",
        "one or three": (
            "def utf8_length(text):\n    return sum(1 if ord(c) < 128 else 3 for c in text)"
        ),
        "borders one too high": (
            "def utf8_length(text):\n"
            "    return sum(1 + sum(ord(c) > b for b in (128, 2048, 65536)) for c in text)"
        ),
        "no fourth byte": (
            "def utf8_length(text):\n"
            "    return sum(1 + (ord(c) >= 128) + (ord(c) >= 2048) for c in text)"
        ),
        "bytes of the code point": (
            "def utf8_length(text):\n"
            "    return sum(max(1, (ord(c).bit_length() + 7) // 8) for c in text)"
        ),
    },
    ("04_tokenizers", 2): {
        "different words": (
            "def unknown_rate(train_words, valid_words, size):\n"
            "    known = {w for w, _ in Counter(train_words).most_common(size)}\n"
            "    return len(set(valid_words) - known) / len(set(valid_words))"
        ),
        "size ignored": (
            "def unknown_rate(train_words, valid_words, size):\n"
            "    return sum(w not in set(train_words) for w in valid_words) / len(valid_words)"
        ),
        "counted on everything": (
            "def unknown_rate(train_words, valid_words, size):\n"
            "    words = Counter([*train_words, *valid_words])\n"
            "    known = {w for w, _ in words.most_common(size)}\n"
            "    return sum(w not in known for w in valid_words) / len(valid_words)"
        ),
        "the known rate": (
            "def unknown_rate(train_words, valid_words, size):\n"
            "    known = {w for w, _ in Counter(train_words).most_common(size)}\n"
            "    return sum(w in known for w in valid_words) / len(valid_words)"
        ),
        "a count": (
            "def unknown_rate(train_words, valid_words, size):\n"
            "    known = {w for w, _ in Counter(train_words).most_common(size)}\n"
            "    return sum(w not in known for w in valid_words)"
        ),
        "the first words seen": (
            "def unknown_rate(train_words, valid_words, size):\n"
            "    known = list(dict.fromkeys(train_words))[:size]\n"
            "    return sum(w not in known for w in valid_words) / len(valid_words)"
        ),
        "the first words of the alphabet": (
            "def unknown_rate(train_words, valid_words, size):\n"
            "    known = sorted(set(train_words))[:size]\n"
            "    return sum(w not in known for w in valid_words) / len(valid_words)"
        ),
    },
    ("04_tokenizers", 3): {
        "the longest token at each place": (
            "def encode(word, merges):\n"
            "    known, tokens = {''.join(pair) for pair in merges}, []\n"
            "    while word:\n"
            "        ends = [n for n in range(len(word), 1, -1) if word[:n] in known]\n"
            "        tokens.append(word[: ends[0] if ends else 1])\n"
            "        word = word[len(tokens[-1]) :]\n"
            "    return tokens"
        ),
        "only the first occurrence": (
            "def encode(word, merges):\n"
            "    tokens = list(word)\n"
            "    for a, b in merges:\n"
            "        for i in range(len(tokens) - 1):\n"
            "            if (tokens[i], tokens[i + 1]) == (a, b):\n"
            "                tokens[i : i + 2] = [a + b]\n"
            "                break\n"
            "    return tokens"
        ),
        "the newest merge first": (
            "def encode(word, merges):\n"
            "    tokens = list(word)\n"
            "    for a, b in reversed(merges):\n"
            "        i = 0\n"
            "        while i < len(tokens) - 1:\n"
            "            if (tokens[i], tokens[i + 1]) == (a, b):\n"
            "                tokens[i : i + 2] = [a + b]\n"
            "            i += 1\n"
            "    return tokens"
        ),
        "from right to left": (
            "def encode(word, merges):\n"
            "    tokens = list(word)\n"
            "    for a, b in merges:\n"
            "        i = len(tokens) - 2\n"
            "        while i >= 0:\n"
            "            if tokens[i : i + 2] == [a, b]:\n"
            "                tokens[i : i + 2] = [a + b]\n"
            "                i -= 1\n"
            "            i -= 1\n"
            "    return tokens"
        ),
        "letters used twice": (
            "def encode(word, merges):\n"
            "    tokens = list(word)\n"
            "    for pair in merges:\n"
            "        tokens = [''.join(p) if p == pair else p[0]\n"
            "                  for p in zip(tokens, [*tokens[1:], ''])]\n"
            "    return tokens"
        ),
    },
    ("06_recurrent_cells", 1): {
        "reset after the product": (
            "def gru_step_before(x, h, weights):\n"
            "    W, U, b = weights\n"
            "    x_z, x_r, x_g = np.split(x @ W + b, 3, axis=1)\n"
            "    h_z, h_r, h_g = np.split(h @ U, 3, axis=1)\n"
            "    z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)\n"
            "    return z * h + (1 - z) * np.tanh(x_g + r * h_g)"
        ),
        "z the other way round": (
            "def gru_step_before(x, h, weights):\n"
            "    W, U, b = weights\n"
            "    x_z, x_r, x_g = np.split(x @ W + b, 3, axis=1)\n"
            "    U_z, U_r, U_g = np.split(U, 3, axis=1)\n"
            "    z, r = sigmoid(x_z + h @ U_z), sigmoid(x_r + h @ U_r)\n"
            "    return (1 - z) * h + z * np.tanh(x_g + (r * h) @ U_g)"
        ),
        "order r, z, g": (
            "def gru_step_before(x, h, weights):\n"
            "    W, U, b = weights\n"
            "    x_r, x_z, x_g = np.split(x @ W + b, 3, axis=1)\n"
            "    U_r, U_z, U_g = np.split(U, 3, axis=1)\n"
            "    z, r = sigmoid(x_z + h @ U_z), sigmoid(x_r + h @ U_r)\n"
            "    return z * h + (1 - z) * np.tanh(x_g + (r * h) @ U_g)"
        ),
        "no reset gate": (
            "def gru_step_before(x, h, weights):\n"
            "    W, U, b = weights\n"
            "    x_z, _, x_g = np.split(x @ W + b, 3, axis=1)\n"
            "    U_z, _, U_g = np.split(U, 3, axis=1)\n"
            "    z = sigmoid(x_z + h @ U_z)\n"
            "    return z * h + (1 - z) * np.tanh(x_g + h @ U_g)"
        ),
        "no bias": (
            "def gru_step_before(x, h, weights):\n"
            "    W, U, b = weights\n"
            "    x_z, x_r, x_g = np.split(x @ W, 3, axis=1)\n"
            "    U_z, U_r, U_g = np.split(U, 3, axis=1)\n"
            "    z, r = sigmoid(x_z + h @ U_z), sigmoid(x_r + h @ U_r)\n"
            "    return z * h + (1 - z) * np.tanh(x_g + (r * h) @ U_g)"
        ),
    },
    ("06_recurrent_cells", 2): {
        "one bias in the GRU": (
            "def count_parameters(kind, features, units):\n"
            "    return {'lstm': 4, 'gru': 3}[kind] * units * (features + units + 1)"
        ),
        "two biases in the LSTM too": (
            "def count_parameters(kind, features, units):\n"
            "    return {'lstm': 4, 'gru': 3}[kind] * units * (features + units + 2)"
        ),
        "three parts in the LSTM": (
            "def count_parameters(kind, features, units):\n"
            "    return 3 * units * (features + units + {'lstm': 1, 'gru': 2}[kind])"
        ),
        "no weights for the state": (
            "def count_parameters(kind, features, units):\n"
            "    parts, biases = {'lstm': (4, 1), 'gru': (3, 2)}[kind]\n"
            "    return parts * units * (features + biases)"
        ),
    },
    ("06_recurrent_cells", 3): {
        "the gate instead of its bias": (
            "def forget_bias(share, steps):\n    return share ** (1 / steps)"
        ),
        "one half whatever the share": (
            "def forget_bias(share, steps):\n    return -np.log(2 ** (1 / steps) - 1)"
        ),
        "the other sign": (
            "def forget_bias(share, steps):\n    return np.log(share ** (-1 / steps) - 1)"
        ),
        "the share over the steps": (
            "def forget_bias(share, steps):\n"
            "    f = 1 - (1 - share) / steps\n"
            "    return np.log(f / (1 - f))"
        ),
        "the logarithm of the steps": ("def forget_bias(share, steps):\n    return np.log(steps)"),
    },
    ("07_attention", 1): {
        "one step too many": (
            "def window_mask(length, window):\n"
            "    distance = np.arange(length)[:, None] - np.arange(length)\n"
            "    return (distance >= 0) & (distance <= window)"
        ),
        "both sides": (
            "def window_mask(length, window):\n"
            "    distance = np.arange(length)[:, None] - np.arange(length)\n"
            "    return np.abs(distance) < window"
        ),
        "the future instead of the past": (
            "def window_mask(length, window):\n"
            "    distance = np.arange(length) - np.arange(length)[:, None]\n"
            "    return (distance >= 0) & (distance < window)"
        ),
        "no window": "def window_mask(length, window):\n    return np.tri(length, dtype=bool)",
    },
    ("07_attention", 2): {
        "multi-head attention": (
            "def count_parameters(features, heads, shared, head_dim):\n"
            "    width = heads * head_dim\n"
            "    return 3 * (features + 1) * width + (width + 1) * features"
        ),
        "no biases": (
            "def count_parameters(features, heads, shared, head_dim):\n"
            "    return 2 * features * (heads + shared) * head_dim"
        ),
        "the bias of the output as wide as the heads": (
            "def count_parameters(features, heads, shared, head_dim):\n"
            "    return 2 * (features + 1) * (heads + shared) * head_dim"
        ),
        "keys only shared": (
            "def count_parameters(features, heads, shared, head_dim):\n"
            "    width = heads * head_dim\n"
            "    queries_and_values = 2 * (features + 1) * width\n"
            "    return queries_and_values + (features + 1) * shared * head_dim\\\n"
            "        + (width + 1) * features"
        ),
    },
    ("07_attention", 3): {
        "from a largest score of 0": (
            "def attend_in_one_pass(q, pairs):\n"
            "    largest, total, weighted = 0.0, 0.0, 0.0\n"
            "    for k, v in pairs:\n"
            "        score = np.dot(q, k) / np.sqrt(len(q))\n"
            "        old, largest = largest, max(largest, score)\n"
            "        shrink, weight = np.exp(old - largest), np.exp(score - largest)\n"
            "        total, weighted = shrink * total + weight, shrink * weighted + weight * v\n"
            "    return weighted / total"
        ),
        "all pairs are kept": (
            "def attend_in_one_pass(q, pairs):\n"
            "    K, V = map(np.array, zip(*pairs))\n"
            "    scores = K @ q / np.sqrt(len(q))\n"
            "    weights = np.exp(scores - scores.max())\n"
            "    return weights @ V / weights.sum()"
        ),
        "no largest score": (
            "def attend_in_one_pass(q, pairs):\n"
            "    total, weighted = 0.0, 0.0\n"
            "    for k, v in pairs:\n"
            "        weight = np.exp(np.dot(q, k) / np.sqrt(len(q)))\n"
            "        total, weighted = total + weight, weighted + weight * v\n"
            "    return weighted / total"
        ),
        "old sums not rescaled": (
            "def attend_in_one_pass(q, pairs):\n"
            "    largest, total, weighted = -np.inf, 0.0, 0.0\n"
            "    for k, v in pairs:\n"
            "        score = np.dot(q, k) / np.sqrt(len(q))\n"
            "        largest = max(largest, score)\n"
            "        weight = np.exp(score - largest)\n"
            "        total, weighted = total + weight, weighted + weight * v\n"
            "    return weighted / total"
        ),
        "one sum not rescaled": (
            "def attend_in_one_pass(q, pairs):\n"
            "    largest, total, weighted = -np.inf, 0.0, 0.0\n"
            "    for k, v in pairs:\n"
            "        score = np.dot(q, k) / np.sqrt(len(q))\n"
            "        old, largest = largest, max(largest, score)\n"
            "        weight = np.exp(score - largest)\n"
            "        total = total + weight\n"
            "        weighted = np.exp(old - largest) * weighted + weight * v\n"
            "    return weighted / total"
        ),
        "no root": (
            "def attend_in_one_pass(q, pairs):\n"
            "    largest, total, weighted = -np.inf, 0.0, 0.0\n"
            "    for k, v in pairs:\n"
            "        score = np.dot(q, k)\n"
            "        old, largest = largest, max(largest, score)\n"
            "        shrink, weight = np.exp(old - largest), np.exp(score - largest)\n"
            "        total, weighted = shrink * total + weight, shrink * weighted + weight * v\n"
            "    return weighted / total"
        ),
        "the value of the largest score": (
            "def attend_in_one_pass(q, pairs):\n"
            "    return max(pairs, key=lambda pair: np.dot(q, pair[0]))[1]"
        ),
    },
    ("08_gpt", 1): {
        "no biases": (
            "def block_parameters(features, intermediate_dim):\n"
            "    return 4 * features**2 + 2 * features * intermediate_dim + 4 * features"
        ),
        "always four times as wide": (
            "def block_parameters(features, intermediate_dim):\n"
            "    return 12 * features**2 + 13 * features"
        ),
        "no normalization": (
            "def block_parameters(features, intermediate_dim):\n"
            "    dense = (features + 1) * intermediate_dim + (intermediate_dim + 1) * features\n"
            "    return 4 * (features + 1) * features + dense"
        ),
    },
    ("08_gpt", 2): {
        "keys only": (
            "def grouped_cache_bytes(batch, room, blocks, shared, key_dim, size=4):\n"
            "    return batch * room * blocks * shared * key_dim * size"
        ),
        "scores instead of keys and values": (
            "def grouped_cache_bytes(batch, room, blocks, shared, key_dim, size=4):\n"
            "    return batch * blocks * shared * room**2 * size"
        ),
        "always 4 bytes": (
            "def grouped_cache_bytes(batch, room, blocks, shared, key_dim, size=4):\n"
            "    return batch * room * blocks * 2 * shared * key_dim * 4"
        ),
    },
    ("08_gpt", 3): {
        "an edge belongs to the share before it": (
            "def draw(logits, temperature, u):\n"
            "    if temperature == 0:\n"
            "        return int(np.argmax(logits))\n"
            "    exp = np.exp((logits - np.max(logits)) / temperature)\n"
            "    return int(np.searchsorted(np.cumsum(exp / exp.sum()), u))"
        ),
        "multiplied by the temperature": (
            "def draw(logits, temperature, u):\n"
            "    exp = np.exp((logits - np.max(logits)) * temperature)\n"
            "    if temperature == 0:\n"
            "        return int(np.argmax(logits))\n"
            "    return int(np.sum(np.cumsum(exp / exp.sum()) <= u))"
        ),
        "overflow": (
            "def draw(logits, temperature, u):\n"
            "    if temperature == 0:\n"
            "        return int(np.argmax(logits))\n"
            "    exp = np.exp(logits / temperature)\n"
            "    return int(np.sum(np.cumsum(exp / exp.sum()) <= u))"
        ),
        "the likeliest first": (
            "def draw(logits, temperature, u):\n"
            "    if temperature == 0:\n"
            "        return int(np.argmax(logits))\n"
            "    order = np.argsort(-logits, kind='stable')\n"
            "    exp = np.exp((logits[order] - np.max(logits)) / temperature)\n"
            "    return int(order[np.sum(np.cumsum(exp / exp.sum()) <= u)])"
        ),
        "always greedy": "def draw(logits, temperature, u):\n    return int(np.argmax(logits))",
        "behind the last end": (
            "def draw(logits, temperature, u):\n"
            "    if temperature == 0:\n"
            "        return int(np.argmax(logits))\n"
            "    exp = np.exp((logits - np.max(logits)) / temperature)\n"
            "    return int(np.sum(np.cumsum(exp / exp.sum()) <= u))"
        ),
        "the last token, however unlikely": (
            "def draw(logits, temperature, u):\n"
            "    if temperature == 0:\n"
            "        return int(np.argmax(logits))\n"
            "    exp = np.exp((logits - np.max(logits)) / temperature)\n"
            "    ends = np.cumsum(exp / exp.sum())\n"
            "    return int(min(np.sum(ends <= u), len(logits) - 1))"
        ),
        "the logits as shares": (
            "def draw(logits, temperature, u):\n"
            "    if temperature == 0:\n"
            "        return int(np.argmax(logits))\n"
            "    return int(u * len(logits))"
        ),
    },
    ("10_fine_tuning", 1): {
        "the first and the last axis": (
            "def lora_parameters(shape, rank):\n    return rank * (shape[0] + shape[-1])"
        ),
        "the kernel itself": "def lora_parameters(shape, rank):\n    return math.prod(shape)",
        "all axes": "def lora_parameters(shape, rank):\n    return rank * sum(shape)",
        "the last axes together": (
            "def lora_parameters(shape, rank):\n    return rank * (shape[0] + math.prod(shape[1:]))"
        ),
    },
    ("10_fine_tuning", 2): {
        "nothing is fixed": (
            "def train_only_biases(decoder):\n"
            "    biases = [w for w in decoder.weights if w.path.endswith('/bias')]\n"
            "    return sum(np.prod(weight.shape) for weight in biases)"
        ),
        "vectors instead of numbers": (
            "def train_only_biases(decoder):\n"
            "    for weight in decoder.weights:\n"
            "        weight.trainable = weight.path.endswith('/bias')\n"
            "    return len(decoder.trainable_weights)"
        ),
        "every vector": (
            "def train_only_biases(decoder):\n"
            "    for weight in decoder.weights:\n"
            "        weight.trainable = len(weight.shape) == 1\n"
            "    return sum(w.shape.num_elements() for w in decoder.trainable_weights)"
        ),
        "all weights counted": (
            "def train_only_biases(decoder):\n"
            "    for weight in decoder.weights:\n"
            "        weight.trainable = weight.path.endswith('/bias')\n"
            "    return decoder.count_params()"
        ),
    },
    ("10_fine_tuning", 3): {
        "a generator of its own": (
            "def draw_nested(labels, counts, rng):\n"
            "    places = [np.flatnonzero(labels == kind) for kind in np.unique(labels)]\n"
            "    orders = [np.random.default_rng().permutation(p) for p in places]\n"
            "    return {n: np.concatenate([o[:n] for o in orders]) for n in counts}"
        ),
        "drawn anew for each count": (
            "def draw_nested(labels, counts, rng):\n"
            "    places = [np.flatnonzero(labels == kind) for kind in np.unique(labels)]\n"
            "    return {n: np.concatenate([rng.choice(p, n, replace=False) for p in places])\n"
            "            for n in counts}"
        ),
        "not by kind": (
            "def draw_nested(labels, counts, rng):\n"
            "    order = rng.permutation(len(labels))\n"
            "    kinds = len(np.unique(labels))\n"
            "    return {n: order[: n * kinds] for n in counts}"
        ),
        "always the first ones": (
            "def draw_nested(labels, counts, rng):\n"
            "    places = [np.flatnonzero(labels == kind) for kind in np.unique(labels)]\n"
            "    return {n: np.concatenate([p[:n] for p in places]) for n in counts}"
        ),
        "the smaller set holds the first places of the larger one": (
            "def draw_nested(labels, counts, rng):\n"
            "    places = [np.flatnonzero(labels == kind) for kind in np.unique(labels)]\n"
            "    orders = [np.sort(rng.choice(p, max(counts), replace=False)) for p in places]\n"
            "    return {n: np.concatenate([o[:n] for o in orders]) for n in counts}"
        ),
        "with replacement": (
            "def draw_nested(labels, counts, rng):\n"
            "    places = [np.flatnonzero(labels == kind) for kind in np.unique(labels)]\n"
            "    orders = [rng.choice(p, max(counts)) for p in places]\n"
            "    return {n: np.concatenate([o[:n] for o in orders]) for n in counts}"
        ),
    },
    ("09_bert", 1): {
        "of all words": (
            "def wrong_among_visible(share, masked, random):\n    return share * random"
        ),
        "of the chosen words": (
            "def wrong_among_visible(share, masked, random):\n    return random / (1 - masked)"
        ),
        "of the words not chosen": (
            "def wrong_among_visible(share, masked, random):\n"
            "    return share * random / (1 - share)"
        ),
        "always BERT's masks": (
            "def wrong_among_visible(share, masked, random):\n"
            "    return share * random / (1 - share * 0.8)"
        ),
        "as if as many stayed as are replaced": (
            "def wrong_among_visible(share, masked, random):\n"
            "    return share * random / (1 - share * (1 - 2 * random))"
        ),
        "those that stay as well": (
            "def wrong_among_visible(share, masked, random):\n"
            "    return share * (1 - masked) / (1 - share * masked)"
        ),
    },
    ("09_bert", 2): {
        "equal words too": (
            "def pseudo_log_likelihood(words, log_p):\n"
            "    total = 0.0\n"
            "    for place, word in enumerate(words):\n"
            "        total += log_p([None if w == word else w for w in words], place)[word]\n"
            "    return total"
        ),
        "nothing is hidden": (
            "def pseudo_log_likelihood(words, log_p):\n"
            "    return sum(log_p(words, place)[word] for place, word in enumerate(words))"
        ),
        "from left to right": (
            "def pseudo_log_likelihood(words, log_p):\n"
            "    total = 0.0\n"
            "    for place, word in enumerate(words):\n"
            "        row = words[:place] + [None] * (len(words) - place)\n"
            "        total += log_p(row, place)[word]\n"
            "    return total"
        ),
        "all are hidden": (
            "def pseudo_log_likelihood(words, log_p):\n"
            "    row = [None] * len(words)\n"
            "    return sum(log_p(row, place)[word] for place, word in enumerate(words))"
        ),
        "the mean": (
            "def pseudo_log_likelihood(words, log_p):\n"
            "    found = []\n"
            "    for place, word in enumerate(words):\n"
            "        row = [None if k == place else w for k, w in enumerate(words)]\n"
            "        found.append(log_p(row, place)[word])\n"
            "    return sum(found) / len(found)"
        ),
        "the sentence is changed": (
            "def pseudo_log_likelihood(words, log_p):\n"
            "    total = 0.0\n"
            "    for place in range(len(words)):\n"
            "        word, words[place] = words[place], None\n"
            "        total += log_p(words, place)[word]\n"
            "        words[place] = word\n"
            "    words[-1] = None\n"
            "    return total"
        ),
    },
    ("09_bert", 3): {
        "as if independent": (
            "def together_at(row, a, b, p):\n"
            "    row = [None if k in (a, b) else word for k, word in enumerate(row)]\n"
            "    return np.outer(p(row, a), p(row, b))"
        ),
        "not weighted": (
            "def together_at(row, a, b, p):\n"
            "    row = [None if k in (a, b) else word for k, word in enumerate(row)]\n"
            "    rows = []\n"
            "    for word in range(len(p(row, a))):\n"
            "        row[a] = word\n"
            "        rows.append(p(row, b))\n"
            "    return np.array(rows)"
        ),
        "the words are read": (
            "def together_at(row, a, b, p):\n"
            "    row, rows = list(row), []\n"
            "    for word, first in enumerate(p(row, a)):\n"
            "        row[a] = word\n"
            "        rows.append(first * p(row, b))\n"
            "    return np.array(rows)"
        ),
        "rows and columns exchanged": (
            "def together_at(row, a, b, p):\n"
            "    row = [None if k in (a, b) else word for k, word in enumerate(row)]\n"
            "    rows = []\n"
            "    for word, first in enumerate(p(row, a)):\n"
            "        row[a] = word\n"
            "        rows.append(first * p(row, b))\n"
            "    return np.array(rows).T"
        ),
    },
}
