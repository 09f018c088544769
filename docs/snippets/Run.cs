// Predict and explain: dotnet run explained.onnx      (package Microsoft.ML.OnnxRuntime)
using System;
using System.Collections.Generic;
using System.Linq;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

static class Run
{
    static void Main(string[] words)
    {
        using (var session = new InferenceSession(words[0]))
        {
            var input = session.InputMetadata.Keys.First(name => !name.StartsWith("onnxcam."));
            var x = new DenseTensor<float>(new[] { 1, 3, 224, 224 }); // your picture, prepared
            var target = new DenseTensor<long>(new long[] { 285 }, new[] { 1 }); // -1: the top class
            var feeds = new List<NamedOnnxValue>
            {
                NamedOnnxValue.CreateFromTensor(input, x),
                NamedOnnxValue.CreateFromTensor("onnxcam.target", target),
            };
            using (var found = session.Run(feeds, new[] { "onnxcam.map", "onnxcam.class" }))
            {
                var map = found.First(value => value.Name == "onnxcam.map").AsTensor<float>();
                var which = found.First(value => value.Name == "onnxcam.class").AsTensor<long>();
                Console.WriteLine($"class {which.First()}, map {map.Dimensions[2]} x {map.Dimensions[3]}");
            }
        }
    }
}
