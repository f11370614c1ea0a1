"""The compiled programs behind `kerasaid.sweeps`: one training step, for many copies at once.

`Copy` writes the step of one copy without side effects: values in, values out. TensorFlow's
`vectorized_map` or JAX's `vmap` turns it into the step of all copies, in which every operation
works on stacked values. What one copy computes can depend on nothing of another: gradient
clipping by the global norm, Lamb's and Muon's matrix norms stay what they are for one model.
"""

import contextlib
import functools
import math
import time

import keras
import numpy as np

from kerasaid.errors import InputError

_OUTSIDE = (  # operations that reach outside of the graph, or draw from TensorFlow's own generator
    *("EagerPyFunc", "PyFunc", "PyFuncStateless", "HashTableV2", "MutableHashTableV2"),
    *("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal"),
    *("Multinomial", "RandomShuffle", "RandomGamma", "RandomPoissonV2"),
    "ReadVariableOp",  # a variable that is not the model's: those come in as values
)
_AT_ONCE = 0.3  # seconds; a compiled call cannot be interrupted, so it should not take long
_FUSED_FROM = 3e8  # values to update; from here on XLA's fused update repays its compilation


class Copy:
    """One model's training step as functions of values.

    Values come in four lists: `weights`, `frozen` (moving averages and the seeds of dropout),
    `slots` (the optimizer's) and `totals` (the metrics').

    Args:
        model: compiled, and called before.
        x, y: a few examples.
    """

    def __init__(self, model, x, y):
        self.model, self.optimizer = model, _free(model.optimizer)
        self.optimizer.build(model.trainable_variables)
        self.variables = {
            "weights": model.trainable_variables,
            "frozen": model.non_trainable_variables,
            "slots": self.optimizer.variables,
            "totals": model.metrics_variables,
        }
        self.lookups = _lookups(model, x, y)
        self.compiled = {}  # what stacks of this copy have compiled, for others of their size

    def slots(self, models):
        """Return a new optimizer's values for each of some models' weights."""
        found = []
        for weights in models:
            for variable, weight in zip(self.variables["weights"], weights):
                variable.assign(weight)  # some optimizers start from the weights
            fresh = type(self.optimizer).from_config(self.optimizer.get_config())
            fresh.build(self.variables["weights"])
            found.append([variable.numpy() for variable in fresh.variables])
            if len(found) == 2 and all(map(np.array_equal, *found)):
                return found[:1] * len(models)  # most do not
        return found

    def zeros(self):
        """Return the metrics' values at the start of an epoch."""
        self.model.reset_metrics()
        return [variable.numpy() for variable in self.model.metrics_variables]

    def loss(self, weights, frozen, totals, x, y, probes=(), training=True):
        """Return the loss of a batch, and what `frozen` and `totals` become.

        `probes` are zeros that are added to what embeddings looked up; see `_lookups`.
        """
        model = self.model
        with (
            self._scope(weights=weights, frozen=frozen, totals=totals) as scope,
            _added(self.lookups.values(), probes),
        ):
            y_pred = model(x, training=training)
            loss = model.compute_loss(x=x, y=y, y_pred=y_pred, training=training)
            model.metrics[0].update_state(loss, sample_weight=keras.ops.shape(x)[0])
            model.compute_metrics(x, y, y_pred)
        return loss, self._values(scope, "frozen"), self._values(scope, "totals")

    def update(self, weights, slots, gradients, rate, looked_up=(), x=None):
        """Return what the weights and the optimizer's values become.

        `looked_up` are the gradients of what each embedding in `lookups` returned for x.
        """
        gradients = list(gradients)
        for number, rows in zip(self.lookups, looked_up):
            gradients[number] = _sparse(rows, x, weights[number].shape)
        self.optimizer.rate = rate
        with self._scope(weights=weights, slots=slots) as scope:
            self.optimizer.apply(gradients)
        return self._values(scope, "weights"), self._values(scope, "slots")

    def results(self, totals):
        """Return the metrics by name."""
        with self._scope(totals=totals):
            return self.model.get_metrics_result()

    def _scope(self, **values):
        mapping = []
        for name, given in values.items():
            mapping += zip(self.variables[name], given)
        return keras.StatelessScope(state_mapping=mapping, collect_losses=True)

    def _values(self, scope, name):
        return [scope.get_current_value(variable) for variable in self.variables[name]]


def _free(optimizer):
    """Free an optimizer from what binds it to TensorFlow variables and to one learning rate.

    Keras' optimizers on TensorFlow write with `tf.distribute`, which needs variables; the common
    base class of all backends writes by `assign`, which a StatelessScope can take over.
    """
    kind = type(optimizer)
    bound = [cls for cls in kind.__mro__ if cls.__name__ == "TFOptimizer"]
    common = next(cls for cls in kind.__mro__ if cls.__name__ == "BaseOptimizer")
    if bound:
        shared = vars(bound[0]).keys() & vars(common).keys()
        methods = {name: vars(common)[name] for name in shared - {"__init__", "_clip_by_norm"}}
        bound = [type("Unbound", tuple(bound), methods)]  # stands before TFOptimizer
    rate = {"_get_current_learning_rate": lambda self: self.rate}
    optimizer.__class__ = type(kind.__name__, (kind, *bound), rate)
    return optimizer


def _lookups(model, x, y):
    """Return the embeddings whose gradient `fit` leaves sparse: {number of the weight: layer}.

    On TensorFlow a token that comes twice in a batch has two rows in its embedding's gradient,
    and Keras' optimizers square each of them before they add them up. To be the same run, a copy
    must do so too. A zero that is added to each row looked up has the gradient of that row.
    """
    if keras.backend.backend() != "tensorflow":
        return {}
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=True))
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    layers = [
        layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)
    ]
    found = {}
    for number, gradient in enumerate(gradients):
        variable = model.trainable_variables[number]
        if gradient is None:
            raise InputError(
                f"weight {variable.path!r} has no part in the loss, and cannot be trained."
            )
        if isinstance(gradient, tf.IndexedSlices):
            layer = next((e for e in layers if any(variable is v for v in e.variables)), None)
            if layer is None or not np.array_equal(gradient.indices, np.ravel(x)):
                raise InputError(
                    f"weight {variable.path!r} is looked up, but not once for each number in x: "
                    "this cannot be trained in a sweep. Train it with fit."
                )
            found[number] = layer
    return found


def _sparse(rows, x, shape):
    import tensorflow as tf

    values, numbers = tf.reshape(rows, (-1, shape[-1])), tf.reshape(tf.cast(x, "int32"), [-1])
    return tf.IndexedSlices(values, numbers, tf.constant(tuple(shape)))


@contextlib.contextmanager
def _added(layers, probes):
    """Add a tensor to what each of some embeddings looks up."""
    changed = []
    for layer, probe in zip(layers, probes):

        def call(inputs, reverse=False, call=layer.call, probe=probe, **more):
            if reverse:  # a ReversibleEmbedding that makes logits with a matrix of its own
                return call(inputs, reverse=True, **more)
            return call(inputs, **more) + probe

        layer.call = call
        changed.append(layer)
    try:
        yield
    finally:
        for layer in changed:
            del layer.call


class Stack:
    """Copies that train together.

    Args:
        copy: a `Copy`.
        weights, frozen, slots: for each copy its list of arrays.
        batch_size: examples in a step.
        steps: how many steps there will be.
    """

    def __init__(self, copy, weights, frozen, slots, batch_size, steps):
        self.copy, self.count, self.batch_size = copy, len(weights), batch_size
        totals = [copy.zeros()] * self.count
        self.state = [
            [self._put(np.stack(part)) for part in zip(*values)]
            for values in (weights, frozen, slots, totals)
        ]
        self._zeros = self.state[3]
        # XLA makes one pass over an optimizer's values where TensorFlow makes a dozen, but takes
        # half a second to compile.
        numbers = steps * self.count * sum(weight.size for weight in weights[0])
        key = self.count, numbers > _FUSED_FROM
        if key not in copy.compiled:
            copy.compiled[key] = self._compile(fused=key[1])
        self._train, self._test, self._named = copy.compiled[key]

    def epoch(self, x, y, orders, rates):
        """Train through the rows in `orders` and return the metrics by name, (copies,) each.

        Args:
            x, y: the data, as `put` returned it.
            orders: row numbers, (copies, rows).
            rates: learning rates, (copies, steps).
        """
        self.state[3], done, at_once = self._zeros, 0, 8
        while done < rates.shape[1]:
            start, until = time.perf_counter(), min(rates.shape[1], done + at_once)
            rows = orders[:, done * self.batch_size : until * self.batch_size]
            after = self._train(self.state, x, y, rows.astype("int32"), rates[:, done:until])
            self.state = list(after)
            keras.ops.convert_to_numpy(self.state[3][0])  # waits
            if time.perf_counter() - start < _AT_ONCE:
                at_once *= 2
            done = until
        return self._results(self.state[3])

    def evaluate(self, x, y):
        """Return the metrics on some data by name, (copies,) each, as `model.evaluate` does."""
        return self._results(self._test(self.state[0], self.state[1], self._zeros, x, y))

    def put(self, arrays):
        """Return arrays as this backend's tensors."""
        return [self._put(array) for array in arrays]

    def values(self):
        """Return each copy's list of arrays: its weights, then what is frozen."""
        parts = [keras.ops.convert_to_numpy(part) for part in self.state[0] + self.state[1]]
        return [[part[number] for part in parts] for number in range(self.count)]

    def _results(self, totals):
        found = self._named(totals)
        return {name: keras.ops.convert_to_numpy(values) for name, values in found.items()}


class TensorFlowStack(Stack):
    """Copies under `tf.vectorized_map`, with the loop over the batches in the graph."""

    def _compile(self, fused):
        import tensorflow as tf

        _teach_bitcast()
        copy, size = self.copy, self.batch_size
        widths = [copy.variables["weights"][number].shape[-1] for number in copy.lookups]

        def together(function, *values):
            # What it has no rule for, as drawing dropout's masks, it does in a loop over copies.
            return tf.vectorized_map(lambda args: function(*args), values, warn=False)

        def gradients(weights, frozen, totals, x, y):
            probes = [tf.zeros((*tf.unstack(tf.shape(x)), width)) for width in widths]
            with tf.GradientTape() as tape:
                tape.watch([weights, probes])
                losses, frozen, totals = together(
                    copy.loss, *(weights, frozen, totals, x, y, probes)
                )
            # A copy's loss depends on its own weights only, so their sum serves all.
            found, rows = tape.gradient(losses, [weights, probes], unconnected_gradients="zero")
            return [tf.convert_to_tensor(each) for each in found], rows, frozen, totals

        def update(*values):
            whole = tf.function(functools.partial(together, copy.update), autograph=False)
            whole = whole.get_concrete_function(*values)
            if fused and not _multiplies_matrices(whole.graph):
                return tf.function(whole, autograph=False, jit_compile=True)(*values)
            return whole(*values)

        def train(state, x, y, orders, rates):
            def step(number, weights, frozen, slots, totals):
                rows = orders[:, number * size : (number + 1) * size]
                batch = tf.gather(x, rows), tf.gather(y, rows)
                found, looked_up, frozen, totals = gradients(weights, frozen, totals, *batch)
                about_rows = (looked_up, batch[0]) if copy.lookups else ()
                after = update(weights, slots, found, rates[:, number], *about_rows)
                # A loop wants to know that shapes stay, which a mapped function may have lost.
                weights, slots = tf.nest.map_structure(_shaped, after, (weights, slots))
                return number + 1, weights, frozen, slots, totals

            return _repeat(tf.shape(rates)[1], step, state)

        def test(weights, frozen, totals, x, y):
            def step(number, totals):
                batch = (part[number * size : (number + 1) * size] for part in (x, y))
                x_batch, y_batch = batch

                def totals_of(*values):
                    return copy.loss(*values, x_batch, y_batch, training=False)[2]

                return number + 1, together(totals_of, weights, frozen, totals)

            return _repeat(-(-tf.shape(x)[0] // size), step, [totals])[0]

        def named(totals):
            return together(copy.results, totals)

        # Blocks of any number of steps share one trace.
        some = [tf.TensorSpec((self.count, None), kind) for kind in ("int32", "float32")]
        return _traced_once(train, *some), _traced_once(test), _traced_once(named)

    @staticmethod
    def memory(copy, x, y):
        """Return about how many bytes a copy takes: its values, and those of one step."""
        import tensorflow as tf

        def gradients(weights, frozen, totals, x, y):
            with tf.GradientTape() as tape:
                tape.watch(weights)
                loss, frozen, totals = copy.loss(weights, frozen, totals, x, y)
            return tape.gradient(loss, weights), frozen, totals

        weights, frozen, slots, totals = (
            [tf.convert_to_tensor(variable) for variable in group]
            for group in copy.variables.values()
        )
        step = tf.function(gradients, autograph=False)
        graph = step.get_concrete_function(weights, frozen, totals, x, y).graph
        graph = graph.as_graph_def(add_shapes=True)
        _refuse_side_effects(graph)
        _refuse_sparse_division(copy, x)
        own = sum(4 * int(tf.size(value)) for value in (*weights, *weights, *frozen, *slots))
        return 2 * own + _bytes_computed(graph, x)

    def _put(self, array):
        import tensorflow as tf

        return tf.convert_to_tensor(array)


def _teach_bitcast():
    """Give `vectorized_map` the rule for Bitcast, which it lacks.

    Keras' argmax, and with it each accuracy, would otherwise be done in a loop over the copies.
    """
    from tensorflow.python.ops.parallel_for import pfor

    with contextlib.suppress(AssertionError):  # it is there already

        @pfor.RegisterPFor("Bitcast")
        def _convert(given):
            import tensorflow as tf

            return pfor.wrap(tf.bitcast(given.stacked_input(0), given.get_attr("type")), True)


def _traced_once(function, *last):
    """Compile a function at its first call; `last` says what its last arguments may be."""
    import tensorflow as tf

    traced = []

    def call(*values):
        values = tf.nest.map_structure(tf.convert_to_tensor, values)
        if not traced:
            given = values[: len(values) - len(last)]
            whole = tf.function(function, autograph=False)
            traced.append(whole.get_concrete_function(*given, *last))
        with _unoptimized():
            return traced[0](*values)

    return call


@contextlib.contextmanager
def _unoptimized():
    """Let TensorFlow run graphs as they were written.

    What its graph optimizer takes, a tenth of a second and more for each graph, is not gained back
    in a sweep's short life.
    """
    import tensorflow as tf

    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        changed = {"disable_meta_optimizer": before.get("disable_meta_optimizer", False)}
        tf.config.optimizer.set_experimental_options(changed)


def _shaped(value, like):
    value.set_shape(like.shape)
    return value


def _repeat(times, step, values):
    import tensorflow as tf

    values = tf.while_loop(
        lambda number, *_: number < times, step, (0, *values), parallel_iterations=1
    )
    return values[1:]


def _multiplies_matrices(graph):
    """Return whether a graph holds matrix products, which XLA does slowly on processors."""
    return any("MatMul" in node.op for node in _nodes(graph.as_graph_def()))


def _graph_of_update(copy, looked_up, x):
    import tensorflow as tf

    weights, slots = (
        [tf.convert_to_tensor(variable) for variable in copy.variables[name]]
        for name in ("weights", "slots")
    )
    update = tf.function(copy.update, autograph=False)
    values = weights, slots, weights, tf.constant(1.0), looked_up, x
    return update.get_concrete_function(*values).graph.as_graph_def()


def _nodes(graph):
    return [
        *graph.node,
        *(node for function in graph.library.function for node in function.node_def),
    ]


def _refuse_sparse_division(copy, x):
    """Raise InputError where an optimizer divides a sparse gradient, which copies cannot do."""
    rows = [np.zeros((*x.shape, layer.output_dim), "float32") for layer in copy.lookups.values()]
    if rows and any(node.op == "Where" for node in _nodes(_graph_of_update(copy, rows, x))):
        raise InputError(
            f"{type(copy.optimizer).__name__} with the embedding "
            f"{next(iter(copy.lookups.values())).name!r} cannot be trained in a sweep: it divides "
            "the gradient of each row that was looked up. Train it with fit, or choose another "
            "optimizer."
        )


def _refuse_side_effects(graph):
    """Raise InputError where a step does what cannot be done for each copy apart."""
    for node in _nodes(graph):
        if node.op.startswith("Assign") or node.op in _OUTSIDE:
            raise InputError(
                f"{node.name.split('/')[0]!r} cannot be trained in a sweep: its operation "
                f"{node.op} works outside of the model's weights, which copies cannot share. "
                "Train it with fit."
            )


def _bytes_computed(graph, x):
    """Return the bytes of all values in a graph, its loops running over x's second axis."""

    def total(nodes):
        shapes = [s for node in nodes for s in node.attr["_output_shapes"].list.shape]
        known = [[d.size for d in shape.dim] for shape in shapes if not shape.unknown_rank]
        return sum(4 * math.prod(shape) for shape in known if all(size >= 0 for size in shape))

    steps = x.shape[1] if x.ndim > 1 else 1
    return total(graph.node) + steps * sum(total(f.node_def) for f in graph.library.function)


class JaxStack(Stack):
    """Copies under `jax.vmap`, with `lax.scan` over the batches of one size."""

    def _compile(self, fused):
        import jax

        copy, size = self.copy, self.batch_size

        def step_of_one(weights, frozen, slots, totals, x, y, rate):
            gradients, (frozen, totals) = _jax_gradients(copy, weights, frozen, totals, x, y)
            weights, slots = copy.update(weights, slots, gradients, rate)
            return [weights, frozen, slots, totals]

        @jax.jit
        def scan(state, x, y, orders, rates):
            def step(state, batch):
                rows, rate = batch
                return jax.vmap(step_of_one)(*state, x[rows], y[rows], rate), None

            return jax.lax.scan(step, state, (orders, rates))[0]

        def train(state, x, y, orders, rates):
            whole = orders.shape[1] // size * size
            if whole:
                by_step = orders[:, :whole].reshape(len(orders), -1, size).swapaxes(0, 1)
                state = scan(state, x, y, by_step, rates[:, : len(by_step)].T)
            if whole < orders.shape[1]:
                state = scan(state, x, y, orders[None, :, whole:], rates[:, -1:].T)
            return state

        @jax.jit
        def test_batch(weights, frozen, totals, x, y):
            def one(*values):
                return copy.loss(*values, x, y, training=False)[2]

            return jax.vmap(one)(weights, frozen, totals)

        def test(weights, frozen, totals, x, y):
            for start in range(0, len(x), size):
                batch = x[start : start + size], y[start : start + size]
                totals = test_batch(weights, frozen, totals, *batch)
            return totals

        return train, test, jax.jit(jax.vmap(copy.results))

    @staticmethod
    def memory(copy, x, y):
        """Return how many bytes a copy takes: its values, and those of one step."""
        import jax

        weights, frozen, slots, totals = (
            [variable.value for variable in group] for group in copy.variables.values()
        )
        step = jax.jit(lambda *values: _jax_gradients(copy, *values))
        compiled = step.lower(weights, frozen, totals, x, y).compile()
        own = sum(value.nbytes for value in (*weights, *weights, *frozen, *slots))
        return 2 * own + compiled.memory_analysis().temp_size_in_bytes

    def _put(self, array):
        import jax

        return jax.numpy.asarray(array)


def _jax_gradients(copy, weights, frozen, totals, x, y):
    import jax

    def loss(weights):
        value, *after = copy.loss(weights, frozen, totals, x, y)
        return value, after

    return jax.grad(loss, has_aux=True)(weights)
