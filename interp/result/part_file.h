// The files of an explanation that is written in parts. interp/result/README.md describes the format.
//
//   DIR/part-00007-of-00064.npy    relevance of the part's images, float32, raw
//   DIR/part-00007-of-00064.json   what the part is ("schema": "vitrine-part/1")
//
// The .json is written last, so a part that has one is complete.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "interp/runs/walk.h"

namespace vitrine {

/// What a part was made from. Parts that belong together have the same.
struct PartSource {
  std::string method, objective, baseline;
  std::map<std::string, std::string> settings;
  std::vector<std::string> rules;
  std::string model_sha256, input_sha256;
  std::int64_t images = 0;                ///< of all parts together
  std::vector<std::int64_t> array_shape;  ///< of all images' relevance
  bool operator==(const PartSource&) const = default;
};

struct Part {
  std::int64_t index = 0, of = 1, first = 0, count = 0;
  std::vector<std::string> names;
  std::vector<int> targets;
  std::vector<double> scores, baseline_scores;
  std::vector<LedgerRow> ledger;  ///< sums over `count` images
};

/// "part-00007-of-00064"
std::string part_name(std::int64_t index, std::int64_t of);

/// Whether the part is there and complete. An Error if it was made from something else, saying what differs.
bool part_is_complete(const std::string& folder, const PartSource&, std::int64_t index, std::int64_t of);

/// Writes both files; `relevance` has the shape of the part's images in the order of the input's file.
void write_part(const std::string& folder, const PartSource&, const Part&, const std::vector<float>& relevance);

struct MergedParts {
  std::int64_t images = 0, parts = 0;
  std::string relevance, index;  ///< the files
};
/// Joins the parts of a folder in their order into one array, `output` (empty: DIR/relevance.npy), and one description
/// beside it (.json, "schema": "vitrine-explanation/1"), in which ledger sums are added up. An Error names the first
/// part that is missing or differs from the others.
MergedParts merge_parts(const std::string& folder, const std::string& output = "");

/// A ledger as JSON ("schema": "vitrine-ledger/1").
std::string ledger_json(const std::vector<LedgerRow>&, const std::string& method, const std::vector<int>& targets,
                        const std::vector<double>& scores);

}  // namespace vitrine
