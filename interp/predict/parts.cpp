#include "interp/predict/parts.h"

#include <algorithm>
#include <filesystem>

#include "core/host/io/sha256.h"

namespace vitrine {
namespace {

std::int64_t chosen(const data::ImageSource& source, std::int64_t images) {
  return images > 0 ? std::min(images, source.size()) : source.size();
}

// The explainer of all parts: it is told a part's size, so that a part is explained alike in every call.
ExplainRequest for_parts(const ExplainRequest& request, const Parts& parts) {
  ExplainRequest r = request;
  r.images = static_cast<std::int32_t>(std::min(parts.images, parts.per_part));
  return r;
}

std::string baseline_name(const BaselineChoice& b) {
  if (!b.images) return b.kind;
  io::Sha256 hash;
  hash.add(b.images->data.data(), b.images->data.size() * sizeof(real));
  return "array " + hash.hexadecimal();
}

PartSource source_of(Subject& subject, const ExplainRequest& r, data::ImageSource& source, std::int64_t images) {
  PartSource s;
  s.method = r.method;
  s.settings = r.settings;
  for (const RuleChoice& rule : r.rules) {
    std::string text = rule.pattern + "=" + rule.rule;
    for (const auto& [key, value] : rule.settings) text += ":" + key + "=" + value;
    s.rules.push_back(text);
  }
  if (r.composite) s.rules.push_back("composite " + io::sha256_of_file(r.composite->path()));
  s.objective = r.objective.name();
  s.baseline = baseline_name(r.baseline);
  s.model_sha256 = subject.digest();
  s.input_sha256 = source.identity();
  s.images = images;
  s.array_shape = source.array_shape(images);
  return s;
}

}  // namespace

Parts::Parts(std::int64_t n, const Shape& image)
    : images(n),
      per_part(std::clamp<std::int64_t>(
          (std::int64_t{64} << 20) / (image.per_image() * static_cast<std::int64_t>(sizeof(real))), 1, 64)) {}

void explain_in_parts(Subject& subject, const ExplainRequest& request, data::ImageSource& source, std::int64_t images,
                      const Job& job, const UsePart& use) {
  const Parts parts(chosen(source, images), subject.model().image_shape());
  request.objective.check(subject.model(), source.size());
  Explainer explainer(subject, for_parts(request, parts));
  for (std::int64_t k = 0; k < parts.count(); ++k) {
    const double n = static_cast<double>(parts.images);
    const Job part =
        job.part(static_cast<double>(parts.first(k)) / n, static_cast<double>(parts.first(k) + parts.size(k)) / n);
    const Images x = source.read(parts.first(k), parts.size(k));
    use(k, x, explainer.explain(x, part, parts.first(k)));
  }
}

void explain_to_folder(Subject& subject, const ExplainRequest& request, data::ImageSource& source, std::int64_t images,
                       const std::string& folder, Shard shard, const Job& job, const UsePart& use) {
  const Parts parts(chosen(source, images), subject.model().image_shape());
  request.objective.check(subject.model(), source.size());
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw Error(folder + ": cannot be made: " + error.message());
  const PartSource made_from = source_of(subject, request, source, parts.images);
  std::vector<std::int64_t> todo;
  for (std::int64_t k = shard.index; k < parts.count(); k += shard.of)
    if (!part_is_complete(folder, made_from, k, parts.count())) todo.push_back(k);
  if (todo.empty()) return;
  Explainer explainer(subject, for_parts(request, parts));
  for (std::size_t t = 0; t < todo.size(); ++t) {
    const std::int64_t k = todo[t];
    const double n = static_cast<double>(todo.size());
    const Images x = source.read(parts.first(k), parts.size(k));
    const Explanation e =
        explainer.explain(x, job.part(static_cast<double>(t) / n, static_cast<double>(t + 1) / n), parts.first(k));
    Part p{k, parts.count(), parts.first(k), parts.size(k), {}, e.target, e.score, e.baseline_score, e.ledger};
    for (std::int64_t i = p.first; i < p.first + p.count; ++i) p.names.push_back(source.name(i));
    write_part(folder, made_from, p, in_file_order(source, e));
    if (use) use(k, x, e);
  }
}

std::vector<float> in_file_order(const data::ImageSource& source, const Explanation& e) {
  return source.nhwc() ? data::moved(e.relevance, e.shape.n(), e.shape, false) : e.relevance;
}

}  // namespace vitrine
