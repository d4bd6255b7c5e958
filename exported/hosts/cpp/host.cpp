// Uses an exported bundle in C++17: host BUNDLE encode|decode|reconstruct|interpolate|sample|score|time IN OUT.npy
//                                   host BUNDLE --check
// IN is a picture (.png), samples [N, C, *sides] in the units of the training data (.npy), or float32: codes [N, *latent] to
// decode and to time, standard normal noise [N, k] to sample. OUT is float32. `interpolate` writes 12 samples, from one to another;
// `sample` and `score` use the first density, and `sample` all labels in turn if it is told one; `score` writes [N, 2]: error and
// log-density, NaN where the density does not give it; `time` writes the milliseconds of each of 100 decodes. `--check` compares
// every stage with the test vectors of the bundle.
#include <onnxruntime_cxx_api.h>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <set>
#include "arrays.h"
#include "manifest.h"
#include "picture.h"
constexpr int STEPS = 12, TIMES = 100;
constexpr char USAGE[] = "host BUNDLE encode|decode|reconstruct|interpolate|sample|score|time IN OUT.npy, or host BUNDLE --check";

Floats between(const Floats& ends) {
  if (ends.shape[0] != 2) throw std::runtime_error("interpolate takes 2 samples");
  const int latent = int(product(ends.shape, 1));
  Floats codes{ends.shape, {}};
  codes.shape[0] = STEPS;
  for (int i = 0; i < STEPS * latent; i++) {
    const float alpha = float(i / latent) / (STEPS - 1);
    codes.data.push_back((1 - alpha) * ends.data[size_t(i % latent)] + alpha * ends.data[size_t(latent + i % latent)]);
  }
  return codes;
}

struct Bundle {
  std::filesystem::path folder;
  Ort::Env& environment;
  Manifest manifest = read_manifest(folder);
  std::string data = manifest.count("/data/kind") ? "/data" : "/image";  // where the manifest describes samples: by its format
  std::string density = value_of(manifest, "/densities/0");
  double low = std::stod(value_of(manifest, data + "/raw/range/0", "0"));
  double high = std::stod(value_of(manifest, data + "/raw/range/1", "1"));

  std::function<Floats(Floats)> opened(const std::string& role, const std::string& of = "") {
    const auto file = folder / manifest.at(graph_of(manifest, role, of) + "/file");
    auto session = std::make_shared<Ort::Session>(environment, file.c_str(), Ort::SessionOptions());
    const int64_t classes = std::stoll(value_of(manifest, "/classes", "1"));
    return [session, classes](Floats values) {
      auto& [shape, data] = values;
      std::vector<int64_t> labels, rows{shape[0]};  // for a graph that is told a class: all in turn
      for (int64_t i = 0; i < shape[0]; i++) labels.push_back(i % classes);
      auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
      const Ort::Value tensors[] = {Ort::Value::CreateTensor<float>(memory, data.data(), data.size(), shape.data(), shape.size()),
                                    Ort::Value::CreateTensor<int64_t>(memory, labels.data(), labels.size(), rows.data(), 1)};
      Ort::AllocatorWithDefaultOptions allocator;
      const auto name = session->GetInputNameAllocated(0, allocator), output = session->GetOutputNameAllocated(0, allocator);
      const char *inputs[] = {name.get(), "label"}, *outputs[] = {output.get()};
      auto result = std::move(session->Run(Ort::RunOptions(), inputs, tensors, session->GetInputCount(), outputs, 1)[0]);
      auto information = result.GetTensorTypeAndShapeInfo();
      const float* first = result.GetTensorData<float>();
      return Floats{information.GetShape(), {first, first + information.GetElementCount()}};
    };
  }

  // A file as samples for the graphs: a picture, or .npy in the units of the training data.
  Floats sample(const std::string& file) const {
    for (auto& [key, rule] : Manifest{{"orientation", "exif"}, {"alpha", "white"}, {"grey", "ITU-R 601-2"}, {"filter", "bicubic"}})
      if (value_of(manifest, data + "/prepare/" + key, rule) != rule)
        throw std::runtime_error("the bundle prepares pictures by a rule that this program does not know");
    std::string type = "|u1";
    const bool array = file.size() > 4 && file.substr(file.size() - 4) == ".npy";
    const auto values = array ? read_npy(file, type) : pixels(file, sizes_of(manifest, data + "/shape"));
    const double top = manifest.count(data + "/raw/dtype") || type != "|u1" ? high : 255;
    const bool bounded = manifest.count(data + "/range/0"), clip = value_of(manifest, data + "/raw/clip") == "true";
    Floats sample{values.shape, {}};
    for (double value : values.data) {
      const double number = (value - low) / (top - low), nearest = bounded ? std::clamp(number, 0.0, 1.0) : number;
      if (!std::isfinite(number) || (number != nearest && !clip))
        throw std::runtime_error(file + " has values that are not in the range of the bundle");
      sample.data.push_back(float(nearest));
    }
    return sample;
  }

  Floats encode(const Floats& sample) {
    const int64_t multiple = std::stoll(value_of(manifest, data + "/multiple", "1"));
    auto shape = sample.shape;
    for (int64_t& side : shape) side = (side + multiple - 1) / multiple * multiple;
    return opened("encoder")(with_sides(sample, shape));
  }

  Floats in_units(Floats made) const {
    for (float& value : made.data) value = float(value * (high - low) + low);
    return made;
  }
};

Floats score(Bundle& bundle, const Floats& sample) {
  const Floats code = bundle.encode(sample);
  const Floats errors = mean_squares(with_sides(bundle.opened("decoder")(code), sample.shape), sample);
  Floats log{{}, std::vector<float>(errors.data.size(), NAN)}, both{{errors.shape[0], 2}, {}};
  const std::string at = graph_of(bundle.manifest, "log_prob", bundle.density, false);
  auto known = sizes_of(bundle.manifest, at + "/inputs/latent/shape");
  if (!known.empty()) known[0] = code.shape[0];
  const bool told = bundle.manifest.count(at + "/inputs/label/dtype");
  if (known == code.shape && !told) log = bundle.opened("log_prob", bundle.density)(code);
  for (size_t i = 0; i < errors.data.size(); i++) both.data.insert(both.data.end(), {errors.data[i], log.data[i]});
  return both;
}

// Prints the largest difference of each stage, divided by max(1, |value|); false where one exceeds the tolerance.
bool check(Bundle& bundle) {
  const std::string name = value_of(bundle.manifest, "/vectors"), start = "/files/" + name + "/input.";
  if (name.empty()) throw std::runtime_error("the bundle has no test vectors: format 1 has none");
  const auto place = bundle.folder / name;
  const auto given = bundle.manifest.lower_bound(start);
  if (given == bundle.manifest.end() || given->first.rfind(start, 0)) throw std::runtime_error("the test vectors have no input");
  const Manifest scores = read_json(place / "scores.json");
  const double tolerance = std::stod(value_of(scores, "/tolerance", "1e-4"));  // the first vectors do not state it
  bool agrees = true;
  const auto compare = [&](const std::string& stage, const Floats& found, const Floats& stated) {
    if (found.shape != stated.shape) throw std::runtime_error(stage + " has another shape than the test vectors");
    double worst = 0;
    for (size_t i = 0; i < found.data.size(); i++) {
      const double apart = std::abs(double(found.data[i]) - stated.data[i]) / std::max(1.0, std::abs(double(stated.data[i])));
      if (!(apart <= worst)) worst = apart;  // so that NaN stays
    }
    const bool fits = worst <= tolerance;
    std::printf("%s: %.1e%s\n", stage.c_str(), worst, fits ? "" : ", which is more than the tolerance");
    agrees = agrees && fits;
  };
  const Floats sample = bundle.sample((bundle.folder / given->first.substr(7)).string());
  const Floats code = bundle.encode(sample), restored = with_sides(bundle.opened("decoder")(code), sample.shape);
  compare("prepared", sample, read_floats((place / "prepared.npy").string()));
  compare("latent", code, read_floats((place / "latent.npy").string()));
  compare("reconstruction", restored, read_floats((place / "reconstruction.npy").string()));
  compare("error", mean_squares(restored, sample), {{1}, {float(std::atof(scores.at("/error").c_str()))}});
  const std::string mark = "/log_density/";
  for (const auto& [key, value] : scores)
    if (key.rfind(mark, 0) == 0 && value != "null") {
      const std::string density = key.substr(mark.size());
      compare("log_density " + density, bundle.opened("log_prob", density)(code), {{1}, {float(std::atof(value.c_str()))}});
    }
  return agrees;
}

int main(int count, char** words) try {
  if (count != 5 && !(count == 3 && words[2] == std::string("--check"))) throw std::runtime_error(USAGE);
  if (static char off[] = "ORT_DISABLE_TELEMETRY=1"; !getenv("ORT_DISABLE_TELEMETRY")) putenv(off);  // before Ort::Env
  Ort::Env environment;
  Bundle bundle{words[1], environment};
  if (count == 3) return check(bundle) ? 0 : 1;
  const std::string task = words[2];
  if (!std::set<std::string>{"encode", "decode", "reconstruct", "interpolate", "sample", "score", "time"}.count(task))
    throw std::runtime_error("there is no task " + task);
  const bool plain = task == "decode" || task == "sample" || task == "time";
  const Floats sample = plain ? read_floats(words[3]) : bundle.sample(words[3]);
  if (task == "score") return write_npy(words[4], score(bundle, sample)), 0;
  Floats code = task == "sample" ? bundle.opened("sample", bundle.density)(sample) : plain ? sample : bundle.encode(sample);
  if (task == "encode") return write_npy(words[4], code), 0;
  if (task == "interpolate") code = between(code);
  const auto decode = bundle.opened("decoder");
  const Floats made = decode(code);  // the first decode, which is slower, is not timed
  Floats times{{TIMES}, {}};
  for (int i = 0; task == "time" && i < TIMES; i++) {
    const auto start = std::chrono::steady_clock::now();
    decode(code);
    times.data.push_back(std::chrono::duration<float, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  write_npy(words[4], task == "time" ? times : bundle.in_units(plain ? made : with_sides(made, sample.shape)));
} catch (const std::exception& error) {
  return std::fprintf(stderr, "%s\n", error.what()), 1;
}
