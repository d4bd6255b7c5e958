// Uses an exported bundle in C++17: host BUNDLE encode|decode|reconstruct|interpolate|sample|time IN.npy OUT.npy
// Arrays are float32: images [N, C, H, W] in 0..1, codes [N, latent], standard normal noise [N, k]. `interpolate` writes 12 images,
// from the first of two to the second; `sample` uses the first density; `time` writes the milliseconds of each of 100 decodes.
#include <onnxruntime_cxx_api.h>
#include <chrono>
#include <cstdio>
#include "manifest.h"
#include "npy.h"
constexpr int STEPS = 12, TIMES = 100;

Array run(Ort::Session& session, Array values) {
  Ort::AllocatorWithDefaultOptions allocator;
  auto input = session.GetInputNameAllocated(0, allocator), output = session.GetOutputNameAllocated(0, allocator);
  const char *inputs[] = {input.get()}, *outputs[] = {output.get()};
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  auto& [shape, data] = values;
  auto tensor = Ort::Value::CreateTensor<float>(memory, data.data(), data.size(), shape.data(), shape.size());
  auto result = std::move(session.Run(Ort::RunOptions(), inputs, &tensor, 1, outputs, 1)[0]);
  auto information = result.GetTensorTypeAndShapeInfo();
  const float* first = result.GetTensorData<float>();
  return {information.GetShape(), {first, first + information.GetElementCount()}};
}

Array between(const Array& ends) {
  if (ends.shape[0] != 2) throw std::runtime_error("interpolate takes 2 images");
  const int latent = int(ends.shape[1]);
  Array codes{{STEPS, latent}, {}};
  for (int i = 0; i < STEPS * latent; i++) {
    const float alpha = float(i / latent) / (STEPS - 1);
    codes.data.push_back((1 - alpha) * ends.data[i % latent] + alpha * ends.data[latent + i % latent]);
  }
  return codes;
}

int main(int count, char** words) try {
  if (count != 5) throw std::runtime_error("host BUNDLE encode|decode|reconstruct|interpolate|sample|time IN.npy OUT.npy");
  const std::filesystem::path bundle = words[1];
  const std::string task = words[2];
  const Manifest manifest = read_manifest(bundle);
  if (static char off[] = "ORT_DISABLE_TELEMETRY=1"; !getenv("ORT_DISABLE_TELEMETRY")) putenv(off);  // before Ort::Env
  Ort::Env environment;
  auto opened = [&](auto role) { return Ort::Session(environment, (bundle / graph_file(manifest, role)).c_str(), {}); };
  Array values = read_npy(words[3]);
  if (task == "encode" || task == "reconstruct" || task == "interpolate" || task == "sample") {
    auto session = opened(task == "sample" ? "sample" : "encoder");
    values = run(session, values);
  } else if (task != "decode" && task != "time") throw std::runtime_error("there is no task " + task);
  if (task == "interpolate") values = between(values);
  if (task == "encode") return write_npy(words[4], values), 0;
  auto decoder = opened("decoder");
  Array result = run(decoder, values), times{{TIMES}, {}};
  for (int i = 0; task == "time" && i < TIMES; i++) {
    const auto start = std::chrono::steady_clock::now();
    run(decoder, values);
    times.data.push_back(std::chrono::duration<float, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  write_npy(words[4], task == "time" ? times : result);
} catch (const std::exception& error) {
  return std::fprintf(stderr, "%s\n", error.what()), 1;
}
