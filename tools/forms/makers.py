"""Write one file by an exporter that needs an environment of its own: TensorFlow, Paddle, MXNet.

PYTHON tools/forms/makers.py EXPORTER NETWORK FILE

It runs in that environment, where nothing of onnxcam is. The weights are such that signals neither
die away, where a map is the same all over the picture, nor drown in their own rounding, as they do
in a deep random network whose activations cut half of everything: a normalisation adds 2 here.
"""

import sys

import numpy as np

HEIGHT, WIDTH, CLASSES = 192, 256, 17


def main():
    """Write the file."""
    exporter, network, path = sys.argv[1:]
    if network != "MobileNetV2" and exporter not in ("tf2onnx", "tflite"):
        sys.exit(f"{exporter} has no ViT of its own")
    {"tf2onnx": tensorflow, "tflite": tensorflow, "Paddle": paddle, "MXNet": mxnet}[exporter](
        exporter, network, path
    )


def tensorflow(exporter, network, path):
    """By tf2onnx, from Keras or from a TFLite file."""
    import keras
    import tensorflow as tf
    import tf2onnx

    keras.utils.set_random_seed(0)
    if network == "MobileNetV2":
        net = keras.applications.MobileNetV2(
            weights=None,
            input_shape=(HEIGHT, WIDTH, 3),
            classes=CLASSES,
            alpha=0.5,
            classifier_activation=None,
        )
    else:
        net = keras_vit(keras)
    random = np.random.default_rng(0)
    for variable in net.weights:
        value = np.asarray(variable)
        if "gamma" in variable.name or "variance" in variable.name:
            variable.assign(random.uniform(0.5, 1.5, value.shape).astype(value.dtype))
        elif value.ndim == 1:
            middle = 2.0 if "beta" in variable.name else 0.0
            variable.assign(random.normal(middle, 0.1, value.shape).astype(value.dtype))
        elif value.ndim == 4 and value.shape[-1] == 1:  # [H, W, channels, 1]: one by one
            variable.assign(random.normal(0, 1 / 3, value.shape).astype(value.dtype))
        elif value.ndim == 4 and network == "ViT":  # else no patch is unlike another
            fan = np.prod(value.shape[:3])
            variable.assign(random.normal(0, fan**-0.5, value.shape).astype(value.dtype))
    calibrate(net, random)
    if exporter == "tf2onnx":
        spec = (tf.TensorSpec((None, HEIGHT, WIDTH, 3), tf.float32, name="input"),)
        function = tf.function(lambda x: net(x, training=False), input_signature=spec)
        tf2onnx.convert.from_function(function, spec, opset=17, output_path=path)
        return
    lite = tf.lite.TFLiteConverter.from_keras_model(net).convert()
    place = path + ".tflite"
    with open(place, "wb") as file:
        file.write(lite)
    tf2onnx.convert.from_tflite(place, opset=17, output_path=path)


def calibrate(net, random):
    """Set the statistics of the batch normalisations."""
    norms = [layer for layer in net.layers if "BatchNormalization" in type(layer).__name__]
    for norm in norms:
        norm.momentum = 0.3
    if norms:
        for _ in range(3):
            net(np.moveaxis(pictures(random), 1, -1), training=True)


def pictures(random):
    """Eight pictures [8, 3, H, W] of coarse and fine patches: noise alone has no places."""
    x = np.zeros((8, 3, HEIGHT, WIDTH), "float32")
    for size in (64, 32, 16, 8, 1):
        patches = random.normal(size=(8, 3, HEIGHT // size, WIDTH // size))
        x += 0.5 * patches.repeat(size, 2).repeat(size, 3).astype("float32")
    return x


def keras_vit(keras):
    """A small ViT of keras layers, its scores from a mean over the tokens."""
    layers = keras.layers

    def gelu(x):  # by tanh: tf2onnx writes the other one with Erfc, which ONNX does not have
        return keras.activations.gelu(x, approximate=True)

    x = inputs = keras.Input((HEIGHT, WIDTH, 3))
    x = layers.Conv2D(96, 16, 16)(x)
    x = layers.Reshape((HEIGHT // 16 * (WIDTH // 16), 96))(x)
    for _ in range(3):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(3, 32)(y, y)
        y = layers.LayerNormalization()(x)
        x = x + layers.Dense(96)(layers.Dense(192, activation=gelu)(y))
    x = layers.LayerNormalization()(x)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def paddle(exporter, network, path):
    """By paddle2onnx, from paddle's own MobileNetV2."""
    import paddle as p

    p.seed(0)
    net = p.vision.models.mobilenet_v2(pretrained=False, scale=0.5, num_classes=CLASSES)
    random = np.random.default_rng(0)
    for layer in net.sublayers():
        if isinstance(layer, p.nn.BatchNorm2D):
            layer._momentum = 0.3
            layer.bias.set_value(p.full_like(layer.bias, 2.0))
        elif isinstance(
            layer, p.nn.Conv2D
        ):  # else signals die away, and a map is the same all over
            fan = np.prod(layer.weight.shape[1:])
            values = random.normal(0, fan**-0.5, layer.weight.shape)
            layer.weight.set_value(p.to_tensor(values.astype("float32")))
    net.train()
    for _ in range(4):
        net(p.to_tensor(pictures(random)))
    net.eval()
    spec = p.static.InputSpec([-1, 3, HEIGHT, WIDTH], "float32", "input")
    p.onnx.export(net, path.removesuffix(".onnx"), input_spec=[spec], opset_version=13)


def mxnet(exporter, network, path):
    """By MXNet's own exporter, from gluon's MobileNetV2."""
    import mxnet as mx
    from mxnet.gluon.model_zoo import vision

    mx.random.seed(0)
    net = vision.get_mobilenet_v2(0.5, classes=CLASSES)
    net.initialize(mx.init.Xavier())
    net.hybridize()
    for _ in range(6):
        with mx.autograd.train_mode():
            net(mx.nd.random.normal(shape=(8, 3, HEIGHT, WIDTH)))
    net(mx.nd.random.normal(shape=(1, 3, HEIGHT, WIDTH)))
    net.export(path.removesuffix(".onnx"))
    base = path.removesuffix(".onnx")
    mx.onnx.export_model(
        base + "-symbol.json", base + "-0000.params", [(1, 3, HEIGHT, WIDTH)], np.float32, path
    )


if __name__ == "__main__":
    main()
