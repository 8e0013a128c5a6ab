"""Writes an encoder as ONNX: weights in half precision, each cast to float32 (a runtime folds
that when it loads the file and computes in float32), opset 17, batch axis free."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model import Conv


class Graph:
    """Nodes and weights of a graph that grows from `pixels` to `vectors`."""

    def __init__(self):
        self.nodes, self.weights, self.casts = [], [], []
        self.add("low", np.float32(0.0))
        self.add("high", np.float32(6.0))

    def add(self, name, value):
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def half(self, name, tensor):
        """A weight in half precision; the name of its cast."""
        value = tensor.detach().float().numpy()
        stored = value.astype(np.float16)
        assert np.isfinite(stored).all(), name
        self.add(name + ".half", stored)
        self.nodes.append(helper.make_node("Cast", [name + ".half"], [name], to=TensorProto.FLOAT))
        return name

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def conv(self, x, conv: Conv, name):
        pads = [conv.before, conv.before, conv.after, conv.after]
        bias = self.add(name + ".bias", conv.bias.detach().float().numpy())
        y = self.node(
            "Conv",
            [x, self.half(name + ".weight", conv.weight), bias],
            name,
            kernel_shape=list(conv.kernel_size),
            strides=list(conv.stride),
            group=conv.groups,
            pads=pads,
        )
        return self.node("Clip", [y, "low", "high"], name + ".clip") if conv.clip else y


def backbone(graph, net, blocks):
    """The stem and the first blocks of a backbone."""
    x = graph.conv("pixels", net.stem, "stem")
    for number, block in enumerate(net.blocks[:blocks]):
        at = f"block{number}"
        y = graph.conv(x, block.expand, at + ".expand") if block.expand else x
        y = graph.conv(y, block.depthwise, at + ".depthwise")
        y = graph.conv(y, block.project, at + ".project")
        x = graph.node("Add", [x, y], at + ".add") if block.skip else y
    return x


def save(graph, side, output, shape, path, about):
    value = helper.make_tensor_value_info
    pixels = value("pixels", TensorProto.FLOAT, ["n", 3, side, side])
    vectors = value(output, TensorProto.FLOAT, ["n", *shape])
    made = helper.make_graph(graph.nodes, "encoder", [pixels], [vectors], graph.weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.doc_string = about
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def front(net, blocks, side, path):
    """Writes the first blocks of a backbone."""
    graph = Graph()
    x = backbone(graph, net, blocks)
    save(graph, side, x, [None, None, None], path, "front")


def export(encoder, side, path, about):
    """Writes `encoder` (model.Encoder) for pictures of `side` x `side` to `path`."""
    graph = Graph()
    net = encoder.backbone
    x = backbone(graph, net, len(net.blocks))
    x = graph.conv(x, net.last, "last")
    if encoder.power != 1.0:
        x = graph.node("Max", [x, graph.add("least", np.float32(1e-4))], "positive")
        x = graph.node("Pow", [x, graph.add("power", np.float32(encoder.power))], "powers")
    x = graph.node("GlobalAveragePool", [x], "pooled")
    x = graph.node("Flatten", [x], "flat", axis=1)
    if encoder.power != 1.0:
        x = graph.node("Pow", [x, graph.add("root", np.float32(1 / encoder.power))], "roots")
    weight = graph.half("project.weight", encoder.project.weight)
    bias = graph.add("project.bias", encoder.project.bias.detach().float().numpy())
    graph.node("Gemm", [x, weight, bias], "vectors", transB=1)
    save(graph, side, "vectors", [encoder.project.out_features], path, about)
