// Arrays: NumPy's .npy files of plain numbers in C order, on a little-endian machine; other sides; errors.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

template <class Number>
struct Array {
  std::vector<int64_t> shape;
  std::vector<Number> data;
};
using Floats = Array<float>;

inline size_t product(const std::vector<int64_t>& shape, size_t from = 0, size_t to = SIZE_MAX) {
  size_t count = 1;
  for (size_t k = from; k < shape.size() && k < to; k++) count *= size_t(shape[k]);
  return count;
}

// So many numbers from a file.
template <class Number>
std::vector<double> numbers(std::istream& in, size_t count) {
  std::vector<Number> read(count);
  in.read(reinterpret_cast<char*>(read.data()), std::streamsize(count * sizeof(Number)));
  return {read.begin(), read.end()};
}

// The numbers of a file as float64; `type` becomes theirs, such as "<f4".
inline Array<double> read_npy(const std::string& file, std::string& type) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw std::runtime_error("there is no " + file);
  unsigned char start[12] = {};
  in.read(reinterpret_cast<char*>(start), 10);
  if (start[6] > 1) in.read(reinterpret_cast<char*>(start) + 10, 2);  // later versions give the header's length in four bytes
  std::string header(start[8] + 256 * start[9] + 65536 * start[10], ' ');
  in.read(header.data(), std::streamsize(header.size()));
  const auto mark = header.find("'descr': '");
  const auto refuse = [&] { throw std::runtime_error(file + " is not a .npy file of numbers, in C order"); };
  if (!in || mark == std::string::npos || header.find("'fortran_order': False") == std::string::npos) refuse();
  type = header.substr(mark + 10, 3);
  Array<double> array;
  std::istringstream sizes(header.substr(header.find('(') + 1));
  for (int64_t size; sizes >> size; sizes.ignore()) array.shape.push_back(size);  // ignore() skips the comma
  const size_t count = product(array.shape);
  if (type == "|u1" || type == "|b1") array.data = numbers<uint8_t>(in, count);
  else if (type == "|i1") array.data = numbers<int8_t>(in, count);
  else if (type == "<u2" || type == "<f2") array.data = numbers<uint16_t>(in, count);
  else if (type == "<i2") array.data = numbers<int16_t>(in, count);
  else if (type == "<u4") array.data = numbers<uint32_t>(in, count);
  else if (type == "<i4") array.data = numbers<int32_t>(in, count);
  else if (type == "<u8") array.data = numbers<uint64_t>(in, count);
  else if (type == "<i8") array.data = numbers<int64_t>(in, count);
  else if (type == "<f4") array.data = numbers<float>(in, count);
  else if (type == "<f8") array.data = numbers<double>(in, count);
  else refuse();
  if (!in) throw std::runtime_error(file + " is cut off");
  for (double& value : array.data)
    if (type == "<f2") {  // sign, five bits of exponent, ten of the mantissa
      const int bits = int(value), exponent = bits >> 10 & 31, mantissa = bits & 1023;
      value = (bits & 0x8000 ? -1 : 1) * (exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24));
    }
  return array;
}

inline Floats read_floats(const std::string& file) {
  std::string type;
  const auto [shape, data] = read_npy(file, type);
  if (type != "<f4") throw std::runtime_error(file + " is " + type + ", not float32");
  return {shape, {data.begin(), data.end()}};
}

inline void write_npy(const std::string& file, const Floats& array) {
  std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (auto size : array.shape) text += std::to_string(size) + ", ";
  text += "), }";
  text.append(63 - (text.size() + 10) % 64, ' ') += '\n';  // the data start at a multiple of 64 bytes
  const char start[] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, char(text.size() & 255), char(text.size() >> 8)};
  std::ofstream out(file, std::ios::binary);
  out.write(start, 10) << text;
  if (!out.write(reinterpret_cast<const char*>(array.data.data()), std::streamsize(array.data.size() * sizeof(float))))
    throw std::runtime_error(file + " cannot be written");
}

// Samples [N, C, *sides] with other sides: continued by reflection, or cut.
inline Floats with_sides(Floats array, const std::vector<int64_t>& wanted) {
  for (size_t axis = 2; axis < array.shape.size(); axis++) {
    const size_t side = size_t(array.shape[axis]), size = size_t(wanted[axis]), period = std::max<size_t>(2 * side - 2, 1);
    const size_t outer = product(array.shape, 0, axis), inner = product(array.shape, axis + 1);
    std::vector<float> made;
    for (size_t i = 0; i < outer * size; i++) {
      const size_t place = i % size % period, from = place < side ? place : period - place;
      const auto start = array.data.begin() + int64_t((i / size * side + from) * inner);
      made.insert(made.end(), start, start + int64_t(inner));
    }
    array.shape[axis] = wanted[axis];
    array.data = made;
  }
  return array;
}

// The mean squared difference of each sample.
inline Floats mean_squares(const Floats& one, const Floats& other) {
  const size_t count = size_t(one.shape[0]), each = one.data.size() / count;
  Floats means{{one.shape[0]}, {}};
  for (size_t row = 0; row < count; row++) {
    double sum = 0;
    for (size_t i = row * each; i < (row + 1) * each; i++) sum += std::pow(double(one.data[i] - other.data[i]), 2);
    means.data.push_back(float(sum / double(each)));
  }
  return means;
}
