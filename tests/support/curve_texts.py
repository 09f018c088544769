"""Activations and normalisations as exporters spell them out, in ONNX's text form."""

from __future__ import annotations

# Each ends in y and starts at x [N, 8, 6, 6]; constants are written in place as {number}.
RECTIFIERS = {
    "Relu": "y = Relu(x)",
    "Max": "y = Max(zero, x)",
    "Max of one": "m = Max(x) y = Max(m, zero)",
    "Clip": "y = Clip(x, zero)",
    "Clip to 6": "y = Clip(x, zero, six)",
    "Min of Max": "m = Max(x, zero) y = Min(m, six)",
    "Max of Min": "m = Min(x, six) y = Max(m, zero)",
    "Where": "c = Greater(x, zero) y = Where(c, x, zero)",
    "Where, turned": "c = LessOrEqual(x, zero) y = Where(c, zero, x)",
    "Where, of masks": "c = Less(x, zero) n = Not(c) y = Where(n, x, zero)",
    "mask": "c = Greater(x, zero) f = Cast<to = 1>(c) y = Mul(x, f)",
    "PRelu 0": "y = PRelu(x, zeros)",
    "LeakyRelu 0": "y = LeakyRelu<alpha = 0.0>(x)",
    "ThresholdedRelu 0": "y = ThresholdedRelu<alpha = 0.0>(x)",
    "with its size": "a = Abs(x) y = Add(x, a)",
    "minus the negative": "n = Min(x, zero) y = Sub(x, n)",
    "of the negative": "n = Neg(x) m = Min(n, zero) y = Neg(m)",
}
ACTIVATIONS = {
    **RECTIFIERS,
    "halved": "a = Abs(x) s = Add(x, a) y = Mul(s, half)",
    "through a cast": "h = Cast<to = 10>(x) r = Relu(h) y = Cast<to = 1>(r)",
    "LeakyRelu": "y = LeakyRelu(x)",
    "PRelu": "y = PRelu(x, tenths)",
    "leaky Max": "t = Mul(x, tenth) y = Max(x, t)",
    "leaky Where": "c = Greater(x, zero) t = Mul(x, tenth) y = Where(c, x, t)",
    "Elu": "y = Elu(x)",
    "HardSwish": "y = HardSwish(x)",
    "HardSwish, Clip": "a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)",
    "HardSwish, factor": "a = Add(three, x) c = Clip(a, zero, six) d = Div(c, six) y = Mul(d, x)",
    "HardSwish, Relu": "a = Add(x, three) r = Relu(a) c = Min(r, six) d = Div(c, six) "
    "y = Mul(x, d)",
    "HardSwish, gate": "g = HardSigmoid<alpha = 0.1666667>(x) y = Mul(x, g)",
    "SiLU": "g = Sigmoid(x) y = Mul(x, g)",
    "SiLU, by Exp": "n = Neg(x) e = Exp(n) d = Add(e, one) y = Div(x, d)",
    "quick GELU": "s = Mul(x, quick) g = Sigmoid(s) y = Mul(x, g)",
    "GELU": "d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)",
    "GELU, halved first": "h = Mul(x, half) d = Div(x, root) e = Erf(d) a = Add(e, one) "
    "y = Mul(h, a)",
    "GELU by tanh": "p = Pow(x, three) c = Mul(p, small) s = Add(x, c) t = Mul(s, pi) "
    "e = Tanh(t) a = Add(e, one) h = Mul(x, half) y = Mul(h, a)",
    "Mish": "s = Softplus(x) t = Tanh(s) y = Mul(x, t)",
    "Mish, by Exp": "e = Exp(x) a = Add(e, one) s = Log(a) t = Tanh(s) y = Mul(t, x)",
    "Softplus": "y = Softplus(x)",
    "Tanh": "y = Tanh(x)",
    "Sigmoid": "y = Sigmoid(x)",
    "rounded": "q = QuantizeLinear(x, tenth) d = DequantizeLinear(q, tenth) g = Sigmoid(d) "
    "y = Mul(d, g)",
}
NEITHER = {
    "a bias": "y = Add(x, eights)",
    "a scale": "y = Mul(x, half)",
    "a scale and a shift": "m = Mul(x, half) y = Sub(m, three)",
    "Neg": "y = Neg(x)",
    "Abs": "y = Abs(x)",
    "a square": "y = Mul(x, x)",
    "Pow": "y = Pow(x, three)",
    "Exp": "y = Exp(x)",
    "Sqrt": "y = Sqrt(x)",
    "a product of two": "z = Conv(x, w) y = Mul(x, z)",
    "a sum of two": "z = Conv(x, w) y = Add(x, z)",
    "a gate of another": "z = Conv(x, w) g = Sigmoid(z) y = Mul(x, g)",
    "a Conv": "y = Conv(x, w)",
    "a mask": "c = Greater(x, zero) y = Cast<to = 1>(c)",
}
NORMALISATIONS = {
    "LayerNormalization": "m = ReduceMean(x, last) d = Sub(x, m) q = Pow(d, two) "
    "v = ReduceMean(q, last) a = Add(v, tiny) r = Sqrt(a) y = Div(d, r)",
    "... with weights": "m = ReduceMean(x, last) d = Sub(x, m) q = Mul(d, d) "
    "v = ReduceMean(q, last) a = Add(v, tiny) r = Sqrt(a) n = Div(d, r) g = Mul(n, sixes) "
    "y = Add(g, sixes)",
    "... over the channels": "m = ReduceMean(x, first) d = Sub(x, m) q = Pow(d, two) "
    "v = ReduceMean(q, first) a = Add(v, tiny) r = Sqrt(a) n = Div(d, r) y = Mul(n, eights)",
    "RMSNormalization": "q = Pow(x, two) v = ReduceMean(q, last) a = Add(v, tiny) r = Sqrt(a) "
    "i = Reciprocal(r) n = Mul(x, i) y = Mul(n, sixes)",
    "a norm": "n = ReduceL2(x, last) c = Clip(n, tiny) y = Div(x, c)",
}
NO_NORMALISATIONS = {
    **NEITHER,
    **ACTIVATIONS,
    "a mean": "m = ReduceMean(x, last) y = Sub(x, m)",
    "a gate of the mean": "m = ReduceMean(x, last) g = Sigmoid(m) y = Mul(x, g)",
}
CONSTANTS = """float zero = {0}, float one = {1}, float two = {2}, float three = {3},
    float six = {6}, float half = {0.5}, float tenth = {0.1},
    float quick = {1.702}, float root = {1.4142135}, float small = {0.044715},
    float pi = {0.7978846}, float tiny = {0.00001}, int64[1] last = {-1}, int64[1] first = {1},
    float[8,1,1] zeros = {0,0,0,0,0,0,0,0}, float[8,1,1] tenths = {0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1},
    float[8,1,1] eights = {1,2,3,4,5,6,7,8}, float[6] sixes = {1,2,3,4,5,6}"""
