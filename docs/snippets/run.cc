// Predict and explain: ./run explained.onnx
// c++ -std=c++17 run.cc -Iinclude -lonnxruntime
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "explained");
  Ort::SessionOptions options;
#ifdef _WIN32
  std::string word(argv[1]);
  Ort::Session session(env, std::wstring(word.begin(), word.end()).c_str(), options);
#else
  Ort::Session session(env, argv[1], options);
#endif

  Ort::AllocatorWithDefaultOptions allocator;
  const auto input = session.GetInputNameAllocated(0, allocator);
  std::vector<float> x(3 * 224 * 224);  // your picture, prepared
  const std::array<int64_t, 4> shape{1, 3, 224, 224};
  std::array<int64_t, 1> target{285};  // -1: the top class
  const std::array<int64_t, 1> targets{1};

  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  std::array<Ort::Value, 2> values{
      Ort::Value::CreateTensor<float>(memory, x.data(), x.size(), shape.data(), shape.size()),
      Ort::Value::CreateTensor<int64_t>(memory, target.data(), target.size(), targets.data(),
                                        targets.size())};
  const std::array<const char*, 2> inputs{input.get(), "onnxcam.target"};
  const std::array<const char*, 2> outputs{"onnxcam.map", "onnxcam.class"};
  const auto found = session.Run(Ort::RunOptions{nullptr}, inputs.data(), values.data(), 2,
                                 outputs.data(), 2);

  const auto extent = found[0].GetTensorTypeAndShapeInfo().GetShape();
  const float* heat = found[0].GetTensorData<float>();
  const auto peak = std::max_element(heat, heat + extent[2] * extent[3]) - heat;
  std::cout << "class " << found[1].GetTensorData<int64_t>()[0] << ", map " << extent[2] << " x "
            << extent[3] << ", peak at row " << peak / extent[3] << ", column "
            << peak % extent[3] << "\n";
}
