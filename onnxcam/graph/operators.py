"""The table of operators: what each of them is. It is asked through ``onnxcam.graph.ops``."""

from __future__ import annotations

from enum import Enum, auto

_MICROSOFT, _ML = "com.microsoft", "ai.onnx.ml"


class Trait(Enum):
    """Something that is true of an operator whatever its node says.

    "Its input" is the first that holds data, "its output" the first one.
    """

    # How the axes and elements of the output stand to those of the input.
    KEEPS_AXES = auto()  # the axes and the order of what lies along them; sizes may differ
    KEEPS_SHAPE = auto()  # ... and the sizes are the same, broadcast where there are several inputs
    ELEMENTWISE = auto()  # ... and an element is made of those in its place, of each data input
    SAME = auto()  # the elements themselves, where they are: other types, or rounded
    VIEW = auto()  # every element once, under other axes
    PICKS = auto()  # every element is one of the input's
    JOINS = auto()  # the inputs one behind the other
    HOMOGENEOUS = auto()  # twice its data make twice its output: it is made of sums and choices
    LINEAR = auto()  # of sums alone, and a constant; a product or quotient: of each factor
    CHANNELS_FIRST = auto()  # reads its input as [N, C, *space]
    CHANNELS_LAST = auto()  # reads its input as [N, *space, C]
    # What it is in a network.
    ACTIVATION = auto()
    RECTIFIER = auto()  # sets what is negative to 0: a Clip does where its range begins there
    GATE = auto()  # from 0 to 1, multiplied with what it gates
    PROBABILITIES = auto()  # what a classifier ends in, behind its logits
    CONVOLUTION = auto()
    PRODUCT = auto()  # of matrices
    BIAS = auto()  # a sum, of a product and its bias for one
    POOL = auto()  # over windows
    GLOBAL_POOL = auto()  # over all of space
    NORMALISES = auto()
    NORMALISES_LAST = auto()  # ... the last axes: the features of a token
    REDUCES = auto()  # over the axes that it names
    ACCUMULATES = auto()  # along an axis
    RESAMPLES = auto()  # reads between the elements
    SCATTERS = auto()  # writes into a copy of its input
    CONTRACTS = auto()  # other sums of products
    RECURRENT = auto()
    ATTENDS = auto()
    EMBEDS = auto()  # looks words up, and normalises what it finds
    LOSS = auto()
    # What its output is.
    COMPARES = auto()  # true or false
    INDICES = auto()  # places, counts, labels
    GENERATES = auto()  # made of nothing but numbers that say how
    READS_SHAPE = auto()  # depends on the shape of its input alone
    RANDOM = auto()  # drawn anew at each run; a Dropout where it trains
    QUANTISES = auto()
    DEQUANTISES = auto()
    SEQUENCE = auto()  # of sequences or optional values
    TEXT = auto()
    TABULAR = auto()  # of rows of features: ONNX's other machine learning
    # How it is run.
    HAS_BODY = auto()  # runs subgraphs
    SIZES = auto()  # what shapes are computed with; exact for small integers
    MAY_FAIL = auto()  # for what it is given: not to be run where it did not run
    OF_RUNTIME = auto()  # of the standard domain, though only ONNX Runtime knows it
    WITHDRAWN = auto()  # ... since ONNX took its experiments back with opset 10
    STEADY = auto()  # from opset 11 on it got more types and options, but stayed what it was
    UNINFERRED = auto()  # onnx infers nothing of it; its output is as its input


IMPLIED: dict[Trait, tuple[Trait, ...]] = {
    Trait.KEEPS_SHAPE: (Trait.KEEPS_AXES,),
    Trait.ELEMENTWISE: (Trait.KEEPS_SHAPE,),
    Trait.SAME: (Trait.ELEMENTWISE, Trait.HOMOGENEOUS),
    Trait.RECTIFIER: (Trait.ACTIVATION,),
    Trait.GATE: (Trait.ACTIVATION,),
    Trait.VIEW: (Trait.PICKS,),
    Trait.PICKS: (Trait.HOMOGENEOUS,),
    Trait.JOINS: (Trait.KEEPS_AXES, Trait.HOMOGENEOUS),
    Trait.POOL: (Trait.KEEPS_AXES,),
    Trait.GLOBAL_POOL: (Trait.KEEPS_AXES,),
    Trait.NORMALISES: (Trait.KEEPS_SHAPE,),
    Trait.NORMALISES_LAST: (Trait.NORMALISES,),
    Trait.ACCUMULATES: (Trait.KEEPS_SHAPE,),
    Trait.SCATTERS: (Trait.KEEPS_SHAPE,),
    Trait.COMPARES: (Trait.ELEMENTWISE,),
    Trait.WITHDRAWN: (Trait.OF_RUNTIME,),
}

TABLE: dict[str, dict[Trait, str]] = {
    "": {
        Trait.ELEMENTWISE: (
            "Abs Acos Acosh Add Affine Asin Asinh Atan Atanh BitCast BitShift BitwiseAnd "
            "BitwiseNot BitwiseOr BitwiseXor Ceil Celu Clip Cos Cosh Div Elu Erf Exp Floor Gelu "
            "HardSigmoid HardSwish LeakyRelu Log Max Mean Min Mish Mod Mul Neg "
            "PRelu ParametricSoftplus Pow Reciprocal Relu Round Scale ScaledTanh Selu Shrink "
            "Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh "
            "ThresholdedRelu Where"
        ),
        Trait.COMPARES: (
            "And Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Not Or Xor"
        ),
        Trait.SAME: "Cast CastLike DequantizeLinear Dropout Identity QuantizeLinear",
        Trait.KEEPS_SHAPE: (
            "Bernoulli DynamicQuantizeLinear Hardmax ImageScaler LogSoftmax RandomNormalLike "
            "RandomUniformLike RotaryEmbedding Softmax Trilu"
        ),
        Trait.KEEPS_AXES: (
            "Attention CausalConvWithState CenterCropPad Conv ConvInteger ConvTranspose Crop "
            "DeformConv DepthToSpace LinearAttention MaxUnpool Pad QLinearConv Resize Slice "
            "SpaceToDepth Split SwiGLU Upsample"
        ),
        Trait.VIEW: "Flatten Identity Reshape Squeeze Transpose Unsqueeze",
        Trait.PICKS: (
            "Compress Crop DepthToSpace Expand Gather GatherElements GatherND "
            "MaxPool ReverseSequence Slice SpaceToDepth Split Tile TopK Unique"
        ),
        Trait.JOINS: "Concat",
        Trait.HOMOGENEOUS: (
            "Abs Add AveragePool CenterCropPad ConcatFromSequence CumSum GlobalAveragePool "
            "GlobalMaxPool LeakyRelu Max Mean Min Neg Optional OptionalGetElement PRelu Pad "
            "ReduceMax ReduceMean ReduceMin ReduceSum Relu Resize SequenceAt SequenceConstruct "
            "SequenceErase SequenceInsert SplitToSequence Sub Sum Trilu Upsample Where"
        ),
        Trait.LINEAR: (
            "Add AveragePool BatchNormalization Concat Conv ConvTranspose CumSum DepthToSpace Div "
            "Expand Flatten Gather Gemm GlobalAveragePool Identity MatMul Mul Neg Pad ReduceMean "
            "ReduceSum Reshape Slice SpaceToDepth Split Squeeze Sub Sum Tile Transpose Unsqueeze"
        ),
        Trait.CHANNELS_FIRST: (
            "AveragePool BatchNormalization Conv ConvInteger ConvTranspose DeformConv "
            "DepthToSpace GlobalAveragePool GlobalLpPool GlobalMaxPool GroupNormalization "
            "InstanceNormalization LRN LpPool MaxPool MaxUnpool QLinearConv SpaceToDepth"
        ),
        Trait.ACTIVATION: (
            "Celu Elu Gelu HardSwish LeakyRelu Mish PRelu ParametricSoftplus ScaledTanh Selu "
            "Shrink Softplus Softsign SwiGLU Swish Tanh ThresholdedRelu"
        ),
        Trait.RECTIFIER: "Clip Relu",
        Trait.GATE: "HardSigmoid Sigmoid",
        Trait.PROBABILITIES: "LogSoftmax Sigmoid Softmax",
        Trait.CONVOLUTION: (
            "CausalConvWithState Conv ConvInteger ConvTranspose DeformConv QLinearConv"
        ),
        Trait.PRODUCT: "Gemm MatMul MatMulInteger QLinearMatMul",
        Trait.BIAS: "Add",
        Trait.POOL: "AveragePool LpPool MaxPool",
        Trait.GLOBAL_POOL: "GlobalAveragePool GlobalLpPool GlobalMaxPool",
        Trait.NORMALISES: (
            "BatchNormalization GroupNormalization InstanceNormalization LRN LpNormalization "
            "MeanVarianceNormalization"
        ),
        Trait.NORMALISES_LAST: "LayerNormalization RMSNormalization SimplifiedLayerNormalization",
        Trait.REDUCES: (
            "ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean "
            "ReduceMin ReduceProd ReduceSum ReduceSumSquare"
        ),
        Trait.ACCUMULATES: "CumProd CumSum",
        Trait.RESAMPLES: "AffineGrid GridSample MaxRoiPool Resize RoiAlign Upsample",
        Trait.SCATTERS: "Scatter ScatterElements ScatterND TensorScatter",
        Trait.CONTRACTS: "Col2Im DFT Det Einsum STFT",
        Trait.RECURRENT: "GRU GRUUnit LSTM RNN",
        Trait.ATTENDS: "Attention LinearAttention",
        Trait.LOSS: "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss",
        Trait.INDICES: (
            "ArgMax ArgMin Hardmax NonMaxSuppression NonZero OptionalHasElement SequenceLength"
        ),
        Trait.GENERATES: (
            "BlackmanWindow Constant ConstantOfShape EyeLike GivenTensorFill HammingWindow "
            "HannWindow ImageDecoder MelWeightMatrix OneHot Range"
        ),
        Trait.READS_SHAPE: "EyeLike RandomNormalLike RandomUniformLike Shape Size",
        Trait.RANDOM: (
            "Bernoulli Dropout Multinomial RandomNormal RandomNormalLike RandomUniform "
            "RandomUniformLike"
        ),
        Trait.QUANTISES: "DynamicQuantizeLinear QuantizeLinear",
        Trait.DEQUANTISES: "DequantizeLinear",
        Trait.SEQUENCE: (
            "ConcatFromSequence Optional OptionalGetElement OptionalHasElement SequenceAt "
            "SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength "
            "SequenceMap SplitToSequence"
        ),
        Trait.TEXT: ("RegexFullMatch StringConcat StringNormalizer StringSplit TfIdfVectorizer"),
        Trait.HAS_BODY: "If Loop Scan SequenceMap",
        Trait.SIZES: (
            "Add And Cast Concat Div Equal Gather Greater Identity Less Max Min Mod Mul Neg Not "
            "Or Range ReduceProd Reshape Slice Split Squeeze Sub Unsqueeze Where"
        ),
        Trait.MAY_FAIL: (
            "Expand Gather GatherElements GatherND Reshape ScatterElements ScatterND SequenceAt "
            "SequenceErase SequenceInsert Split Squeeze"
        ),
        Trait.OF_RUNTIME: "SimplifiedLayerNormalization",
        Trait.WITHDRAWN: (
            "Affine Crop DynamicSlice GRUUnit GivenTensorFill ImageScaler ParametricSoftplus "
            "Scale ScaledTanh"
        ),
        Trait.STEADY: (
            "Abs Acos Add And ArgMax ArgMin Asin Atan AveragePool BatchNormalization Cast Ceil "
            "Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos CumSum DepthToSpace Div "
            "Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather "
            "GatherElements GatherND Gemm GlobalAveragePool GlobalMaxPool Greater HardSigmoid "
            "Identity InstanceNormalization LRN LSTM LayerNormalization LeakyRelu Less Log "
            "LpNormalization LpPool MatMul Max MaxPool Mean Min Mod Mul Neg NonZero Not OneHot "
            "Or PRelu Pad Pow RNN Range Reciprocal Relu Reshape Resize Round ScatterElements "
            "ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softplus Softsign SpaceToDepth "
            "Split Sqrt Sub Sum Tan Tanh Tile TopK Transpose Trilu Where Xor"
        ),
        Trait.UNINFERRED: "GroupNormalization MeanVarianceNormalization",
    },
    _MICROSOFT: {
        Trait.ELEMENTWISE: (
            "BiasAdd BiasGelu FastGelu GatedAdd Gelu QLinearAdd QLinearLeakyRelu QLinearMul "
            "QLinearSigmoid QLinearWhere QuickGelu ScaledSiLU"
        ),
        Trait.SAME: "DequantizeLinear QuantizeLinear",
        Trait.KEEPS_SHAPE: "BiasSoftmax QLinearSoftmax RotaryEmbedding Trilu",
        Trait.KEEPS_AXES: (
            "Attention BiasSplitGelu FusedConv GroupQueryAttention MultiHeadAttention NhwcConv "
            "NhwcFusedConv Pad QAttention QLinearConv"
        ),
        Trait.VIEW: "ExpandDims",
        Trait.PICKS: "GatherND NhwcMaxPool UnfoldTensor",
        Trait.JOINS: "QLinearConcat",
        Trait.CHANNELS_FIRST: ("FusedConv QLinearAveragePool QLinearConv QLinearGlobalAveragePool"),
        Trait.CHANNELS_LAST: "NhwcConv NhwcFusedConv NhwcMaxPool",
        Trait.ACTIVATION: (
            "BiasGelu BiasSplitGelu FastGelu FusedConv FusedGemm FusedMatMulActivation Gelu "
            "NhwcFusedConv QLinearLeakyRelu QuickGelu ScaledSiLU"
        ),
        Trait.GATE: "QLinearSigmoid",
        Trait.PROBABILITIES: "QLinearSigmoid QLinearSoftmax",
        Trait.CONVOLUTION: "FusedConv NhwcConv NhwcFusedConv QLinearConv",
        Trait.PRODUCT: (
            "DynamicQuantizeMatMul FusedGemm FusedMatMul FusedMatMulActivation MatMulBnb4 "
            "MatMulIntegerToFloat MatMulNBits QGemm TransposeMatMul"
        ),
        Trait.BIAS: "BiasAdd QLinearAdd",
        Trait.POOL: "NhwcMaxPool QLinearAveragePool",
        Trait.GLOBAL_POOL: "QLinearGlobalAveragePool",
        Trait.NORMALISES: "GroupNorm SkipGroupNorm",
        Trait.NORMALISES_LAST: (
            "GatedRMSNorm SkipLayerNormalization SkipSimplifiedLayerNormalization"
        ),
        Trait.REDUCES: "QLinearReduceMean",
        Trait.RESAMPLES: "GridSample",
        Trait.CONTRACTS: "CDist Inverse",
        Trait.RECURRENT: "DynamicQuantizeLSTM",
        Trait.ATTENDS: "Attention GroupQueryAttention MultiHeadAttention QAttention",
        Trait.EMBEDS: "EmbedLayerNormalization QEmbedLayerNormalization",
        Trait.INDICES: (
            "BifurcationDetector IsAllFinite MurmurHash3 NGramHashMapping NGramRepeatBlock "
            "VarlenNGramHashMapping"
        ),
        Trait.GENERATES: "Range",
        Trait.QUANTISES: "QuantizeLinear",
        Trait.DEQUANTISES: "DequantizeLinear",
        Trait.MAY_FAIL: "GatherBlockQuantized GatherND",
        Trait.TEXT: "Tokenizer",
    },
    "com.microsoft.nchwc": {  # written in standard ones when a model is loaded
        Trait.KEEPS_AXES: "Conv ReorderInput ReorderOutput Upsample",
        Trait.CHANNELS_FIRST: "AveragePool Conv GlobalAveragePool GlobalMaxPool MaxPool",
        Trait.ACTIVATION: "Conv",
        Trait.CONVOLUTION: "Conv",
        Trait.POOL: "AveragePool MaxPool",
        Trait.GLOBAL_POOL: "GlobalAveragePool GlobalMaxPool",
        Trait.RESAMPLES: "Upsample",
    },
    _ML: {
        Trait.KEEPS_SHAPE: "Binarizer Imputer Scaler",
        Trait.NORMALISES_LAST: "Normalizer",
        Trait.PICKS: "ArrayFeatureExtractor",
        Trait.JOINS: "FeatureVectorizer",
        Trait.INDICES: "CategoryMapper LabelEncoder OneHotEncoder",
        Trait.TABULAR: (
            "ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer "
            "FeatureVectorizer Imputer LabelEncoder LinearClassifier LinearRegressor Normalizer "
            "OneHotEncoder SVMClassifier SVMRegressor Scaler TreeEnsemble TreeEnsembleClassifier "
            "TreeEnsembleRegressor ZipMap"
        ),
    },
}

# Where the data stands, where it is neither the first input alone nor, elementwise, every input.
FIRST, _THIRDS = slice(0, 1), slice(0, 4, 3)  # a tensor, its scale and its zero make three
DATA: dict[str, slice] = {
    **dict.fromkeys(("Cast", "CastLike", "Clip", "Dropout", "Expand", "Identity"), FIRST),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), FIRST),
    **dict.fromkeys(("QLinearSigmoid", "QLinearLeakyRelu"), FIRST),
    **dict.fromkeys(("QLinearAdd", "QLinearMul", "QLinearMatMul", "QGemm"), _THIRDS),
    "QLinearWhere": slice(1, 5, 3),
    "QLinearConcat": slice(2, None, 3),
    **dict.fromkeys(("MatMul", "Gemm", "MatMulInteger"), slice(0, 2)),
    **dict.fromkeys(("FusedMatMul", "FusedGemm", "TransposeMatMul"), slice(0, 2)),
    **dict.fromkeys(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), slice(0, 2)),
}
