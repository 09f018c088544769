"""Write one file by an exporter that needs an environment of its own: TensorFlow, Paddle, MXNet.

PYTHON tools/forms/makers.py EXPORTER NETWORK FILE

It runs in that environment, where nothing of onnxcam is.
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
            variable.assign(random.normal(0, 0.1, value.shape).astype(value.dtype))
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
            net(random.normal(size=(8, HEIGHT, WIDTH, 3)).astype("float32"), training=True)


def keras_vit(keras):
    """A small ViT of keras layers, its scores from a mean over the tokens."""
    layers = keras.layers
    x = inputs = keras.Input((HEIGHT, WIDTH, 3))
    x = layers.Conv2D(96, 16, 16)(x)
    x = layers.Reshape((HEIGHT // 16 * (WIDTH // 16), 96))(x)
    for _ in range(3):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(3, 32)(y, y)
        y = layers.LayerNormalization()(x)
        x = x + layers.Dense(96)(layers.Dense(192, activation="gelu")(y))
    x = layers.LayerNormalization()(x)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def paddle(exporter, network, path):
    """By paddle2onnx, from paddle's own MobileNetV2."""
    import paddle as p

    p.seed(0)
    net = p.vision.models.mobilenet_v2(pretrained=False, scale=0.5, num_classes=CLASSES)
    net.train()
    for _ in range(6):
        net(p.randn([8, 3, HEIGHT, WIDTH]))
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
