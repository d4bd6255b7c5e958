// Makes a PNG file the bytes [1, C, H, W] of a bundle, by docs/preparation.md. libpng decodes it, without gamma or colour profiles.
#pragma once
#include <png.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include "arrays.h"

struct Picture {  // bytes of red, green, blue and alpha
  int64_t width, height;
  std::vector<uint8_t> data;
};

// The EXIF orientation in a PNG file, 1 to 8; refuses more than 8 bits a channel and several frames.
inline int orientation_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw std::runtime_error("there is no " + file);
  const std::string bytes(std::istreambuf_iterator<char>(in), {});
  const auto number = [&](size_t at, int count, bool little = false) {
    size_t value = 0;
    for (int k = 0; k < count; k++) value = value << 8 | uint8_t(bytes.at(at + (little ? count - 1 - k : k)));
    return value;
  };
  if (bytes.substr(0, 4) != "\x89PNG") throw std::runtime_error(file + " is not a PNG file, which is what this program reads");
  for (size_t at = 8; at + 12 <= bytes.size(); at += 12 + number(at, 4)) {
    const std::string chunk = bytes.substr(at + 4, 4);
    if (chunk == "acTL" || (chunk == "IHDR" && number(at + 16, 1) > 8))
      throw std::runtime_error(file + " has several frames, or more than 8 bits a channel");
    if (chunk != "eXIf") continue;
    const size_t exif = at + 8;
    const bool little = bytes.at(exif) == 'I';
    const size_t first = exif + number(exif + 4, 4, little), count = number(first, 2, little);
    for (size_t i = 0; i < count; i++)
      if (number(first + 2 + 12 * i, 2, little) == 0x112) return int(number(first + 10 + 12 * i, 2, little));
  }
  return 1;
}

inline Picture read_png(const std::string& name) {
  FILE* file = std::fopen(name.c_str(), "rb");
  const auto leave = [](png_structp at, png_const_charp) { png_longjmp(at, 1); };
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, leave, [](auto, auto) {});
  png_infop info = png_create_info_struct(png);
  if (!file || setjmp(png_jmpbuf(png))) {
    png_destroy_read_struct(&png, &info, nullptr);
    if (file) std::fclose(file);
    throw std::runtime_error(name + " is not a PNG file that can be read");
  }
  png_init_io(png, file);
  png_read_png(png, info, PNG_TRANSFORM_EXPAND | PNG_TRANSFORM_GRAY_TO_RGB, nullptr);
  Picture picture{png_get_image_width(png, info), png_get_image_height(png, info), {}};
  const int channels = png_get_channels(png, info);  // 3, or 4 where anything is transparent
  for (int64_t y = 0; y < picture.height; y++)
    for (int64_t x = 0; x < 4 * picture.width; x++)
      picture.data.push_back(x % 4 < channels ? png_get_rows(png, info)[y][x / 4 * channels + x % 4] : 255);
  png_destroy_read_struct(&png, &info, nullptr);
  std::fclose(file);
  return picture;
}

inline Picture upright(const Picture& picture, int orientation) {
  if (orientation < 2 || orientation > 8) return picture;
  const bool across = orientation > 4, left = orientation == 2 || orientation == 3 || orientation > 6,
             over = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const auto& [width, height, data] = picture;
  Picture turned{across ? height : width, across ? width : height, {}};
  for (int64_t v = 0; v < turned.height; v++)
    for (int64_t u = 0; u < turned.width; u++) {
      const int64_t x = across ? v : u, y = across ? u : v;
      const auto at = data.begin() + 4 * ((over ? height - 1 - y : y) * width + (left ? width - 1 - x : x));
      turned.data.insert(turned.data.end(), at, at + 4);
    }
  return turned;
}

// Lines of n bytes, of which the middle `part` is resized to `size` by Pillow's bicubic filter (a = -0.5), in whole 2^-22. Lines
// become columns, so that a second call resizes the other side and turns them back.
inline std::vector<uint8_t> resized(const std::vector<uint8_t>& lines, int64_t n, double part, int64_t size) {
  const float start = float((n - part) * 0.5), end = float((n - part) * 0.5 + part);  // Pillow holds the box in float32
  const double scale = double(end - start) / double(size), wide = std::max(scale, 1.0);
  const auto curve = [](double x) { return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0; };
  const size_t count = lines.size() / size_t(n);
  std::vector<uint8_t> made(count * size_t(size));
  for (int64_t i = 0; i < size; i++) {
    const double centre = start + (double(i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(int64_t(centre - 2 * wide + 0.5), 0);
    const int64_t last = std::min(int64_t(centre + 2 * wide + 0.5), n);
    std::vector<double> weights;
    double sum = 0;
    for (int64_t x = first; x < last; x++) sum += weights.emplace_back(curve(std::abs((double(x) - centre + 0.5) * (1 / wide))));
    std::vector<int64_t> whole;
    for (double weight : weights) whole.push_back(int64_t(weight / sum * (1 << 22) + (weight < 0 ? -0.5 : 0.5)));
    for (size_t y = 0; y < count; y++) {
      int64_t total = 1 << 21;
      for (size_t k = 0; k < whole.size(); k++) total += whole[k] * lines[y * size_t(n) + size_t(first) + k];
      made[size_t(i) * count + y] = uint8_t(std::clamp<int64_t>(total >> 22, 0, 255));
    }
  }
  return made;
}

// A picture over white, grey or in colour, cropped about the centre and resized to `shape` (C, H, W), where no side is open (0).
inline Array<double> pixels(const std::string& file, const std::vector<int64_t>& shape) {
  if (shape.size() != 3 || (shape[0] != 1 && shape[0] != 3))
    throw std::runtime_error(file + " is a picture, and the samples of the bundle are none: give them as .npy");
  const int orientation = orientation_of(file);
  const auto [width, height, data] = upright(read_png(file), orientation);
  const bool open = !shape[1] || !shape[2];
  const int64_t h = open ? height : shape[1], w = open ? width : shape[2];
  Array<double> all{{1, shape[0], h, w}, {}};
  for (int64_t c = 0; c < shape[0]; c++) {
    std::vector<uint8_t> plane;
    for (size_t i = 0; i < data.size(); i += 4) {
      const auto over = [&](size_t k) { return (data[i + 3] * data[i + k] + (255 - data[i + 3]) * 255 + 127) / 255; };
      const int grey = (19595 * over(0) + 38470 * over(1) + 7471 * over(2) + 32768) >> 16;
      plane.push_back(uint8_t(shape[0] == 3 ? over(size_t(c)) : grey));
    }
    if (h != height || w != width) {
      const double whole = double(width) / double(height), wanted = double(w) / double(h);
      plane = resized(plane, width, whole > wanted ? wanted * double(height) : double(width), w);
      plane = resized(plane, height, whole < wanted ? double(width) / wanted : double(height), h);
    }
    all.data.insert(all.data.end(), plane.begin(), plane.end());
  }
  return all;
}
