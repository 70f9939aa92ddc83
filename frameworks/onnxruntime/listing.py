"""Train a net with batch norm on the digits in bnlib; infer in ONNX Runtime."""

import numpy as np
import onnx.parser
import onnxruntime

from bnlib.training import fit, mlp, predict

digits, rng = np.load("digits.npz"), np.random.default_rng(0)
x, y = digits["x_test"], digits["y_test"]
model = mlp([64, 100, 100, 10], rng=rng, norm="batch")
fit(model, digits["x_train"], digits["y_train"], steps=345, lr=0.1, rng=rng)

# A file says everything itself; without training_mode=1 the operator infers.
BLOCK = """
    a{0} = MatMul ({1}, "{0}.weight")
    b{0} = BatchNormalization <epsilon = 1e-5> (
        a{0}, "{2}.weight", "{2}.bias", "{2}.running_mean", "{2}.running_var")
    c{0} = Relu (b{0})"""
net = onnx.parser.parse_model(f"""<ir_version: 9, opset_import: ["": 15]>
digits (float[n, 64] x) => (float[n, 10] scores) {{
    {BLOCK.format(0, "x", 1)} {BLOCK.format(3, "c0", 4)}
    d = MatMul (c3, "6.weight")
    scores = Add (d, "6.bias") }}""")
for name, value in model.state_dict().items():
    net.graph.initializer.append(onnx.numpy_helper.from_array(value.T, name))

options = onnxruntime.SessionOptions()
options.optimized_model_filepath = "optimized.onnx"  # to see what is really run
session = onnxruntime.InferenceSession(net.SerializeToString(), options)
scores, alone = (session.run(None, {"x": x[:n]})[0] for n in (len(x), 1))
kinds = [node.op_type for node in onnx.load("optimized.onnx").graph.node]
print("test accuracy above 90 %:", (scores.argmax(1) == y).mean() > 0.9)
print("the scores are bnlib's:", np.allclose(scores, predict(model, x), atol=1e-4))
print("one image alone gives its row:", np.allclose(alone, scores[:1], atol=1e-5))
print("batch norm was folded into MatMul:", "BatchNormalization" not in kinds)
