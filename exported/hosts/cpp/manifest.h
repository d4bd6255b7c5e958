// Reads a bundle's manifest (JSON) into a flat map: "/graphs/0/role" is "encoder". Escapes except \" and \\ lose their backslash.
#pragma once
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <map>
#include <stdexcept>
#include <string>

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

inline Manifest read_manifest(const std::filesystem::path& bundle) {
  std::ifstream in(bundle / "manifest.json");
  if (!in) throw std::runtime_error("there is no " + (bundle / "manifest.json").string());
  Manifest found;
  flatten(in, "", found);
  if (std::stoi(found.at("/format")) > 1) throw std::runtime_error("the bundle has a newer format than this program reads");
  return found;
}

// The file of a role in fp32 that takes and gives float32; a density's role is taken from the first density.
inline std::string graph_file(const Manifest& manifest, const std::string& role) {
  auto entry = [&](const std::string& key) { return manifest.count(key) ? manifest.at(key) : ""; };
  for (int i = 0; manifest.count("/graphs/" + std::to_string(i) + "/role"); i++) {
    const std::string at = "/graphs/" + std::to_string(i), density = entry(at + "/density"), io = entry(at + "/io");
    const bool fits = entry(at + "/precision") == "fp32" && (io.empty() || io == "float");
    if (fits && entry(at + "/role") == role && (density.empty() || density == entry("/densities/0"))) return entry(at + "/file");
  }
  throw std::runtime_error("the bundle has no " + role);
}
