// What a study found, as data: numbers with their intervals, tables, curves, maps, pictures, claims, and the cost.
// JSON, CSV, charts, pages and language bindings are made from a Result alone (write.h); methods print nothing.
#pragma once

#include <cmath>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "interp/render/curve.h"
#include "interp/render/picture.h"

namespace vitrine {

/// A number, over how many cases it was found, and the interval that holds it (NaN: none was computed).
struct Measure {
  double value = NAN;
  std::int64_t n = 0;
  double low = NAN, high = NAN;
};

/// A table's entry: a number or a text.
struct Cell {
  template <class T>
  requires std::is_arithmetic_v<T> Cell(T number) : value(static_cast<double>(number)) {}
  Cell(std::string text) : value(std::move(text)) {}
  Cell(const char* text) : value(std::string(text)) {}
  bool operator==(const Cell&) const = default;

  std::variant<double, std::string> value;
};

struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;
  std::string note;  ///< one or two sentences that stand below the table

  /// Appends a row; an Error if it has not one cell per column.
  void add(std::vector<Cell> row);
};

/// Numbers of any rank in C order: relevance (N,C,H,W), a filter's template (H,W), a saliency per class (K).
struct Array {
  std::vector<std::int64_t> shape;
  std::vector<float> data;
};

/// What the study cost. Runs are counted per image.
struct Cost {
  std::int64_t forward = 0, backward = 0;
  double seconds = 0;
  std::size_t peak_bytes = 0;
};

/// A statement that can fail, the value that decides it, and whether it holds.
struct Claim {
  std::string statement;
  double value = NAN, threshold = NAN;
  bool holds = false;
};

/// Whether a name can be a file's name everywhere: 1 to 120 of the characters A-Z a-z 0-9 . _ - and + and no dot or
/// dash as the first.
bool safe_name(const std::string&) noexcept;
/// A safe name near to the given text: other characters become '-'. Two texts can become the same name.
std::string make_safe_name(const std::string&);

/// Entries are kept and written in the order in which they were added. Each name is used once per kind and is a safe
/// file name, because maps, tables, curves and pictures become files of that name; anything else is an Error. Titles,
/// columns, labels, cells and statements may hold any text. JSON has neither NaN nor infinity: in numbers, tables,
/// curves and claims both are written as null and read as NaN (maps keep them, as .npy does).
class Result {
 public:
  template <class T>
  using Named = std::deque<std::pair<std::string, T>>;  // references to entries stay valid when others are added

  struct ModelFile {
    std::string file, sha256;
  };
  struct DataSource {
    std::string spec, sha256;
    std::int64_t n = 0;  ///< images used
  };

  std::string study;
  std::map<std::string, std::string> settings;
  std::uint64_t seed = 0;
  std::string version;  ///< of the program
  ModelFile model;
  DataSource data;
  Cost cost;

  void number(const std::string& name, const Measure&);
  /// Adds an empty table; the reference is valid as long as the result.
  Table& table(const std::string& name, std::vector<std::string> columns);
  /// An Error also if a series' vectors differ in length.
  void curve(const std::string& name, Curve);
  /// An Error also if the shape does not fit the data.
  void map(const std::string& name, Array);
  void picture(const std::string& name, Picture);
  /// Prose for the page: paragraphs, parted by empty lines.
  void text(const std::string& paragraphs);
  /// A claim whose value or threshold is NaN never holds.
  void claim(std::string statement, double value, double threshold, bool holds);

  const Named<Measure>& numbers() const noexcept { return numbers_; }
  const Named<Table>& tables() const noexcept { return tables_; }
  const Named<Curve>& curves() const noexcept { return curves_; }
  const Named<Array>& maps() const noexcept { return maps_; }
  const Named<Picture>& pictures() const noexcept { return pictures_; }
  const std::vector<std::string>& texts() const noexcept { return texts_; }
  const std::vector<Claim>& claims() const noexcept { return claims_; }

  /// An entry by its name; an Error if there is none.
  const Measure& number(const std::string& name) const;
  const Table& table(const std::string& name) const;
  const Curve& curve(const std::string& name) const;
  const Array& map(const std::string& name) const;
  const Picture& picture(const std::string& name) const;

 private:
  template <class T>
  T& add(Named<T>&, const char* kind, const std::string& name, T entry);
  template <class T>
  const T& find(const Named<T>&, const char* kind, const std::string& name) const;

  Named<Measure> numbers_;
  Named<Table> tables_;
  Named<Curve> curves_;
  Named<Array> maps_;
  Named<Picture> pictures_;
  std::vector<std::string> texts_;
  std::vector<Claim> claims_;
};

}  // namespace vitrine
