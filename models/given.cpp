#include "models/given.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace vitrine {

Given::Given(const Model& model, std::vector<GivenInput> inputs) : inputs_(std::move(inputs)) {
  const Graph& g = model.graph();
  std::vector<bool> seen(g.inputs.size(), false);
  for (const GivenInput& given : inputs_) {
    if (given.input >= g.inputs.size())
      throw Error("input " + std::to_string(given.input) + " is given, but the network has " +
                  std::to_string(g.inputs.size()) + " inputs");
    const Id v = g.inputs[given.input];
    const std::string name = std::string("input '") + g.values[v].name + "'";
    if (v == g.input) throw Error(name + " is the main one, whose images are not given beside themselves");
    if (seen[given.input]) throw Error(name + " is given twice", Error::usage);
    seen[given.input] = true;
    const Shape &found = given.images.shape, &expected = g.shape(v);
    if (found.n() < 1 || found.with_batch(1) != expected ||
        static_cast<std::int64_t>(given.images.data.size()) != found.size())
      throw Error(name + " has shape " + text(found) + ", but the network takes (N," + text(expected).substr(3));
    const auto bad =
        std::find_if_not(given.images.data.begin(), given.images.data.end(), [](real x) { return std::isfinite(x); });
    if (bad != given.images.data.end())
      throw Error(name + " is not finite at element " + std::to_string(bad - given.images.data.begin()));
  }
  for (std::size_t k = 0; k < g.inputs.size(); ++k)
    if (!seen[k] && g.inputs[k] != g.input)
      throw Error(std::string("input '") + g.values[g.inputs[k]].name + "' is not given: the network takes " +
                      std::to_string(g.inputs.size()) + " inputs",
                  Error::usage);
}

void Given::check_images(const Model& model, std::int32_t images) const {
  for (const GivenInput& given : inputs_)
    if (const std::int32_t n = given.images.shape.n(); n != 1 && n != images)
      throw Error(std::string("input '") + model.graph().values[model.graph().inputs[given.input]].name + "' has " +
                  std::to_string(n) + " values, expected 1 or " + std::to_string(images) +
                  ", as many as the main input has images");
}

void Given::give(Session& session, std::span<const std::int32_t> rows) const {
  const Graph& g = *session.plan().request.graph;
  std::vector<real> batch;
  for (const GivenInput& given : inputs_) {
    const std::int64_t each = given.images.shape.per_image();
    batch.resize(rows.size() * static_cast<std::size_t>(each));
    for (std::size_t k = 0; k < rows.size(); ++k) {
      const std::int64_t row = given.images.shape.n() == 1 ? 0 : rows[k];
      std::copy_n(given.images.data.begin() + row * each, each, batch.begin() + static_cast<std::int64_t>(k) * each);
    }
    const Id v = g.inputs[given.input];
    session.give(v, {batch.data(), g.shape(v).with_batch(static_cast<std::int32_t>(rows.size()))});
  }
}

void Given::give(Session& session, std::int32_t first, std::int32_t count) const {
  std::vector<std::int32_t> rows(static_cast<std::size_t>(count));
  std::iota(rows.begin(), rows.end(), first);
  give(session, rows);
}

}  // namespace vitrine
