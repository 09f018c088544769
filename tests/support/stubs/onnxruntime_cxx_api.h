// The few names of ONNX Runtime's C++ API that docs/snippets/run.cc uses, declared as its
// documentation has them: a compiler can hold the snippet against them where the real header is
// not installed. Nothing here is ever run.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

enum OrtLoggingLevel { ORT_LOGGING_LEVEL_VERBOSE, ORT_LOGGING_LEVEL_ERROR };
enum OrtAllocatorType { OrtDeviceAllocator, OrtArenaAllocator };
enum OrtMemType { OrtMemTypeCPU, OrtMemTypeDefault };
#ifdef _WIN32
#define ORTCHAR_T wchar_t
#else
#define ORTCHAR_T char
#endif
struct OrtAllocator;

namespace Ort {
struct Env {
  Env(OrtLoggingLevel level, const char* id);
};
struct SessionOptions {
  SessionOptions();
};
struct RunOptions {
  explicit RunOptions(std::nullptr_t);
};
struct AllocatorWithDefaultOptions {
  AllocatorWithDefaultOptions();
  operator OrtAllocator*();
};
struct MemoryInfo {
  static MemoryInfo CreateCpu(OrtAllocatorType type, OrtMemType kind);
};
struct TensorTypeAndShapeInfo {
  std::vector<int64_t> GetShape() const;
};
struct Value {
  Value(Value&&) = default;
  Value(const Value&) = delete;
  template <typename T>
  static Value CreateTensor(const MemoryInfo& info, T* data, size_t count, const int64_t* shape,
                            size_t rank);
  TensorTypeAndShapeInfo GetTensorTypeAndShapeInfo() const;
  template <typename T>
  const T* GetTensorData() const;
};
struct AllocatedFree {
  void operator()(void* pointer) const;
};
using AllocatedStringPtr = std::unique_ptr<char, AllocatedFree>;
struct Session {
  Session(const Env& env, const ORTCHAR_T* path, const SessionOptions& options);
  AllocatedStringPtr GetInputNameAllocated(size_t index, OrtAllocator* allocator) const;
  std::vector<Value> Run(const RunOptions& options, const char* const* input_names,
                         const Value* inputs, size_t input_count,
                         const char* const* output_names, size_t output_count);
};
}  // namespace Ort
