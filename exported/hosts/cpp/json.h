// A JSON file as one flat map: "/graphs/0/role" is "encoder". Escapes other than \" and \\ lose their backslash.
#pragma once
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <map>
#include <stdexcept>
#include <string>

inline void flatten(std::istream& in, const std::string& at, std::map<std::string, std::string>& found) {
  const int first = (in >> std::ws).peek();
  if (first == '"') {
    in >> std::quoted(found[at]);
  } else if (first == '{' || first == '[') {
    in.get();
    for (int i = 0; (in >> std::ws).peek() != first + 2; i++) {  // the closing one comes two later in ASCII
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

inline std::map<std::string, std::string> flat_json(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error("there is no " + file.string());
  std::map<std::string, std::string> found;
  flatten(in, "", found);
  return found;
}
