// Reads and writes NumPy's .npy files of float32 in C order, on a little-endian machine.
#pragma once
#include <cstdint>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

struct Array {
  std::vector<int64_t> shape;
  std::vector<float> data;
};

inline Array read_npy(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  unsigned char start[12] = {};
  in.read(reinterpret_cast<char*>(start), 10);
  if (start[6] > 1) in.read(reinterpret_cast<char*>(start) + 10, 2);  // later versions give the header's length in four bytes
  std::string header(start[8] + 256 * start[9] + 65536 * start[10], ' ');
  if (!in.read(header.data(), header.size()) || header.find("'<f4'") == std::string::npos ||
      header.find("'fortran_order': False") == std::string::npos)
    throw std::runtime_error(file + " is not a .npy file of float32 in C order");
  Array array;
  std::istringstream sizes(header.substr(header.find('(') + 1));
  size_t count = 1;
  for (int64_t size; sizes >> size; sizes.ignore()) {  // ignore() skips the comma
    array.shape.push_back(size);
    count *= size;
  }
  array.data.resize(count);
  if (!in.read(reinterpret_cast<char*>(array.data.data()), count * sizeof(float))) throw std::runtime_error(file + " is cut off");
  return array;
}

inline void write_npy(const std::string& file, const Array& array) {
  std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (auto size : array.shape) text += std::to_string(size) + ", ";
  text += "), }";
  text.append(63 - (text.size() + 10) % 64, ' ') += '\n';  // the data start at a multiple of 64 bytes
  const char start[] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, char(text.size() & 255), char(text.size() >> 8)};
  std::ofstream out(file, std::ios::binary);
  out.write(start, 10) << text;
  if (!out.write(reinterpret_cast<const char*>(array.data.data()), array.data.size() * sizeof(float)))
    throw std::runtime_error(file + " cannot be written");
}
