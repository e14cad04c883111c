// A dense matrix of doubles, row by row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vitrine {

struct Matrix {
  std::int64_t rows = 0, columns = 0;
  std::vector<double> data;

  Matrix() = default;
  Matrix(std::int64_t r, std::int64_t c) : rows(r), columns(c), data(static_cast<std::size_t>(r * c)) {}
  double& operator()(std::int64_t r, std::int64_t c) { return data[static_cast<std::size_t>(r * columns + c)]; }
  double operator()(std::int64_t r, std::int64_t c) const { return data[static_cast<std::size_t>(r * columns + c)]; }
  std::span<const double> row(std::int64_t r) const {
    return {data.data() + r * columns, static_cast<std::size_t>(columns)};
  }
};

}  // namespace vitrine
