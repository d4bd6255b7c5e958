// An exported bundle at work in C++17: host BUNDLE encode|decode|reconstruct|interpolate|sample IN.npy OUT.npy
// Arrays are float32: images [N, C, H, W] in 0..1, codes [N, latent], noise [N, k] standard normal. `interpolate` takes two
// images and writes the 12 between them, both included; `sample` takes noise and uses the first density of the bundle.
#include <onnxruntime_cxx_api.h>

#include <cstdio>

#include "json.h"
#include "npy.h"

constexpr int STEPS = 12;

Array run(const std::filesystem::path& file, Array values) {
  static Ort::Env environment;
  Ort::Session session(environment, file.c_str(), Ort::SessionOptions());
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
  if (count != 5) throw std::runtime_error("host BUNDLE encode|decode|reconstruct|interpolate|sample IN.npy OUT.npy");
  const std::filesystem::path bundle = words[1];
  const std::string task = words[2];
  auto manifest = flat_json(bundle / "manifest.json");
  if (std::stoi(manifest.at("/format")) > 1) throw std::runtime_error("the bundle has a newer format than this program reads");
  auto graph = [&](const std::string& role, const std::string& density = "") {
    for (int i = 0; manifest.count("/graphs/" + std::to_string(i) + "/role"); i++) {
      auto entry = [&](const char* key) { return manifest["/graphs/" + std::to_string(i) + "/" + key]; };
      if (entry("role") == role && entry("precision") == "fp32" && entry("density") == density) return bundle / entry("file");
    }
    throw std::runtime_error("the bundle has no " + role);
  };
  Array codes = read_npy(words[3]);
  if (task == "encode" || task == "reconstruct" || task == "interpolate") codes = run(graph("encoder"), codes);
  else if (task == "sample") codes = run(graph("sample", manifest.at("/densities/0")), codes);
  else if (task != "decode") throw std::runtime_error("there is no task " + task);
  if (task == "interpolate") codes = between(codes);
  write_npy(words[4], task == "encode" ? codes : run(graph("decoder"), codes));
} catch (const std::exception& error) {
  return std::fprintf(stderr, "%s\n", error.what()), 1;
}
