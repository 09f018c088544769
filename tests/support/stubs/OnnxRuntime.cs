// The few names of Microsoft.ML.OnnxRuntime that docs/snippets/Run.cs uses, for a compiler to hold
// the snippet against where the package is not to be had. Nothing here is ever run.
using System;
using System.Collections.Generic;

namespace Microsoft.ML.OnnxRuntime
{
    using Microsoft.ML.OnnxRuntime.Tensors;

    public class NodeMetadata { }

    public class NamedOnnxValue
    {
        public string Name { get { throw new NotSupportedException(); } }
        public Tensor<T> AsTensor<T>() { throw new NotSupportedException(); }
        public static NamedOnnxValue CreateFromTensor<T>(string name, Tensor<T> value)
        {
            throw new NotSupportedException();
        }
    }

    public class DisposableNamedOnnxValue : NamedOnnxValue { }

    public interface IDisposableReadOnlyCollection<T> : IReadOnlyCollection<T>, IDisposable { }

    public class InferenceSession : IDisposable
    {
        public InferenceSession(string path) { }
        public IReadOnlyDictionary<string, NodeMetadata> InputMetadata
        {
            get { throw new NotSupportedException(); }
        }
        public IDisposableReadOnlyCollection<DisposableNamedOnnxValue> Run(
            IReadOnlyCollection<NamedOnnxValue> inputs, IReadOnlyCollection<string> outputs)
        {
            throw new NotSupportedException();
        }
        public void Dispose() { }
    }
}

namespace Microsoft.ML.OnnxRuntime.Tensors
{
    public abstract class Tensor<T> : IEnumerable<T>
    {
        public ReadOnlySpan Dimensions { get { throw new NotSupportedException(); } }
        public IEnumerator<T> GetEnumerator() { throw new NotSupportedException(); }
        System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator()
        {
            throw new NotSupportedException();
        }
    }

    public struct ReadOnlySpan // of int, as System's
    {
        public int this[int place] { get { throw new NotSupportedException(); } }
    }

    public class DenseTensor<T> : Tensor<T>
    {
        public DenseTensor(int[] dimensions) { }
        public DenseTensor(T[] values, int[] dimensions) { }
    }
}
