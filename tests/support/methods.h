// What tests of methods need: parameters set by name, images that are the same everywhere, one call of a method, and a
// data set in memory.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "interp/predict/explain.h"

namespace vitrine::test {

/// Sets a parameter ("fc.weight"), whose values are in C order.
inline void set_parameter(Model& m, const std::string& name, const std::vector<real>& values) {
  for (const Value& v : m.graph().values)
    if (v.kind == ValueKind::parameter && v.name == name) {
      REQUIRE(static_cast<std::size_t>(v.shape.size()) == values.size());
      std::copy(values.begin(), values.end(), m.parameters.begin() + v.offset);
      return;
    }
  FAIL("no parameter " << name);
}

/// Values between -1 and 1, without pattern.
inline Images some_images(Shape shape, double phase = 0) {
  Images x{shape, std::vector<real>(static_cast<std::size_t>(shape.size()))};
  for (std::size_t i = 0; i < x.data.size(); ++i)
    x.data[i] = static_cast<real>(std::sin(0.7 * static_cast<double>(i) + phase));
  return x;
}

/// One call of a method, for one class.
inline Explanation explain_class(const Model& m, const Images& x, const std::string& method, int target,
                                 const std::map<std::string, std::string>& settings = {}) {
  ExplainRequest request;
  request.method = method;
  request.settings = settings;
  request.objective = Objective::of_class(target);
  return explain(m, Engine(1), x, request);
}

/// Images with labels, as they are given.
class DataInMemory final : public data::Dataset {
 public:
  DataInMemory(Images images, std::vector<int> labels, int classes)
      : images_(std::move(images)), labels_(std::move(labels)), classes_(classes) {
    REQUIRE(labels_.size() == static_cast<std::size_t>(images_.shape.n()));
  }
  std::int64_t size() const override { return images_.shape.n(); }
  Shape image_shape() const override { return images_.shape.with_batch(1); }
  int classes() const override { return classes_; }
  int label(std::int64_t i) const override { return labels_[static_cast<std::size_t>(i)]; }
  void image(std::int64_t i, float* chw) const override {
    const std::int64_t each = images_.shape.per_image();
    std::copy_n(images_.data.begin() + i * each, each, chw);
  }

 private:
  Images images_;
  std::vector<int> labels_;
  int classes_;
};

/// One run of a study over one network and its data.
inline Result study_of(const std::string& name, const Model& m, const data::Dataset& data,
                       const std::vector<std::string>& nodes = {},
                       const std::map<std::string, std::string>& settings = {}, std::int64_t images = 0) {
  const Engine engine(1);
  Subject subject(m, engine, &data);
  return run_study(name, {.subjects = {&subject}, .nodes = nodes, .images = images}, settings, {});
}

}  // namespace vitrine::test
