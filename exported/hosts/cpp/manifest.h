// Reads JSON into a flat map: "/graphs/0/role" is "encoder". Escapes except \" and \\ lose their backslash.
#pragma once
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

using Manifest = std::map<std::string, std::string>;

inline void flatten(std::istream& in, const std::string& at, Manifest& found) {
  const int first = (in >> std::ws).peek();
  if (first == '"') {
    in >> std::quoted(found[at]);
  } else if (first == '{' || first == '[') {
    in.get();
    for (int i = 0; (in >> std::ws).peek() != first + 2; i++) {  // in ASCII the closing bracket comes two after the opening one
      if (i && (in.get() != ',' || !in)) throw std::runtime_error("the manifest is broken");
      std::string key = std::to_string(i);
      if (first == '{' && (!(in >> std::quoted(key)) || (in >> std::ws).get() != ':'))
        throw std::runtime_error("the manifest is broken");
      flatten(in, at + "/" + key, found);
    }
    in.get();
  } else {  // a number, true, false or null
    while (in && std::string(",]} \r\n\t").find(char(in.peek())) == std::string::npos) found[at] += char(in.get());
  }
}

inline Manifest read_json(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error("there is no " + file.string());
  Manifest found;
  flatten(in, "", found);
  return found;
}

inline std::string value_of(const Manifest& manifest, const std::string& key, const std::string& otherwise = "") {
  const auto found = manifest.find(key);
  return found == manifest.end() || found->second == "null" ? otherwise : found->second;
}

// The numbers of a list, 0 for null and for what is no number: "batch", or a side of any size.
inline std::vector<int64_t> sizes_of(const Manifest& manifest, const std::string& key) {
  std::vector<int64_t> sizes;
  for (std::string at = key + "/0"; manifest.count(at); at = key + "/" + std::to_string(sizes.size()))
    sizes.push_back(std::atoll(manifest.at(at).c_str()));
  return sizes;
}

inline Manifest read_manifest(const std::filesystem::path& bundle) {
  const Manifest found = read_json(bundle / "manifest.json");
  if (std::stoi(found.at("/format")) > 2) throw std::runtime_error("the bundle has a newer format than this program reads");
  return found;
}

// Where the manifest describes the graph of a role, in fp32 and of floats; nowhere if there is none and it is not `needed`.
inline std::string graph_of(const Manifest& manifest, const std::string& role, const std::string& density, bool needed = true) {
  for (int i = 0; manifest.count("/graphs/" + std::to_string(i) + "/role"); i++) {
    const std::string at = "/graphs/" + std::to_string(i);
    const bool fits = value_of(manifest, at + "/precision") == "fp32" && value_of(manifest, at + "/io", "float") == "float";
    if (fits && value_of(manifest, at + "/role") == role && value_of(manifest, at + "/density") == density) return at;
  }
  if (!needed) return "/none";
  throw std::runtime_error("the bundle has no graph: " + role + (density.empty() ? "" : " of " + density));
}
