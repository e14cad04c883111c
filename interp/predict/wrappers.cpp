// Methods around another: integrated gradients (a path of gradients) and SmoothGrad with its relatives (any method
// under noise).
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>

#include "interp/predict/method.h"
#include "kernels/philox.h"

namespace vitrine {
namespace {

constexpr Setting integrated_list[] = {
    {Setting::integer, "steps", "50", "gradients along the path", "", 1, 100000},
    {Setting::choice, "quadrature", "gauss-legendre", "where on the path, and with which weights",
     "gauss-legendre|trapezoid|left|right|midpoint"},
};
constexpr Setting smoothgrad_list[] = {
    {Setting::integer, "samples", "25", "noisy copies of each image", "", 1, 1000000},
    {Setting::number, "sigma", "0.15", "noise's standard deviation as a share of each image's range (max - min)", "", 0,
     1e6},
    {Setting::integer, "seed", "0", "of the noise", "", 0, 9007199254740992.0},
    {Setting::text, "of", "gradient", "the method that is averaged; its settings follow as of.KEY=value"},
    {Setting::choice, "statistic", "mean", "mean (SmoothGrad), square (SmoothGrad^2) or variance (VarGrad)",
     "mean|square|variance"},
};

class IntegratedGradients final : public Method {
 public:
  IntegratedGradients(const MethodContext& c, const Settings& s)
      : context_(c.request.rules.empty() ? c.over_merged() : c),
        quadrature_(make_quadrature(s.text("quadrature"), static_cast<int>(s.integer("steps")))),
        assignment_(context_.model) {
    RuleSet set(assignment_.arena());
    assignment_.fill(set.make<GradientRule>());
    assignment_.override_with(c.request.rules);
    walk_ = std::make_unique<Walk>(context_.model, c.engine, assignment_.rules,
                                   Walk::Options{.together = {static_cast<std::int32_t>(quadrature_.at.size()), true}},
                                   c.request.memory_budget);
  }
  bool complete() const override { return true; }
  bool has_baseline() const override { return true; }
  bool scores_inputs() const override { return true; }

  void attribute(const TensorView& x, std::span<const int> targets, const TensorView& baseline,
                 real* relevance) override {
    scored = {};
    in_batches(context_, x.shape.n(), *walk_, [&](std::int32_t first, std::int32_t count) {
      walk_->score(x.images(first, count), baseline.images(first, count),
                   targets.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)), scored);
    });
    const std::int64_t pixels = x.shape.per_image();
    const auto steps = static_cast<std::int32_t>(quadrature_.at.size());
    Images points{x.shape.with_batch(walk_->batch()), {}};
    points.data.resize(static_cast<std::size_t>(points.shape.size()));
    std::vector<double> sum(static_cast<std::size_t>(pixels));
    std::vector<int> target;
    for (std::int32_t n = 0; n < x.shape.n(); ++n) {
      const real *const a = baseline.data + n * pixels, *const b = x.data + n * pixels;
      std::fill(sum.begin(), sum.end(), 0.0);
      in_batches(context_, steps, *walk_, [&](std::int32_t first, std::int32_t count) {
        for (std::int32_t k = 0; k < count; ++k) {
          const double alpha = quadrature_.at[static_cast<std::size_t>(first + k)];
          real* const point = points.data.data() + k * pixels;
          for (std::int64_t i = 0; i < pixels; ++i)
            point[i] = static_cast<real>(a[i] + alpha * (static_cast<double>(b[i]) - a[i]));
        }
        target.assign(static_cast<std::size_t>(count), scored.target[static_cast<std::size_t>(n)]);
        walk_->run(points.view().images(0, count), nullptr, target, Walk::Seed::one);
        const HostTensor g = walk_->signal();
        for (std::int32_t k = 0; k < count; ++k) {
          const double weight = quadrature_.weight[static_cast<std::size_t>(first + k)];
          const real* const map = g.data + k * pixels;
          double* const to = sum.data();
          for (std::int64_t i = 0; i < pixels; ++i) to[i] += weight * map[i];
        }
      });
      for (std::int64_t i = 0; i < pixels; ++i)
        relevance[n * pixels + i] =
            static_cast<real>((static_cast<double>(b[i]) - a[i]) * sum[static_cast<std::size_t>(i)]);
    }
  }

 private:
  MethodContext context_;
  Quadrature quadrature_;
  Assignment assignment_;
  std::unique_ptr<Walk> walk_;
};

class SmoothGrad final : public Method {
 public:
  static constexpr std::int32_t kTogether = 16;  ///< noisy copies made at once

  SmoothGrad(const MethodContext& c, const Settings& s, std::unique_ptr<Method> of)
      : context_(c),
        samples_(static_cast<int>(s.integer("samples"))),
        sigma_(s.number("sigma")),
        seed_(static_cast<std::uint64_t>(s.integer("seed"))),
        statistic_(s.text("statistic")),
        of_(std::move(of)) {}
  bool has_baseline() const override { return of_->has_baseline(); }

  void attribute(const TensorView& x, std::span<const int> targets, const TensorView& baseline,
                 real* relevance) override {
    const std::int64_t pixels = x.shape.per_image();
    std::vector<double> mean(static_cast<std::size_t>(pixels)), squares(mean.size());
    for (std::int32_t n = 0; n < x.shape.n(); ++n) {
      const real* const image = x.data + n * pixels;
      const auto [low, high] = std::minmax_element(image, image + pixels);
      const double deviation = sigma_ * (static_cast<double>(*high) - *low);
      std::fill(mean.begin(), mean.end(), 0.0);
      std::fill(squares.begin(), squares.end(), 0.0);
      in_batches(context_, samples_, kTogether, [&](std::int32_t first, std::int32_t count) {
        Images noisy{x.shape.with_batch(count), {}}, reference{x.shape.with_batch(count), {}};
        noisy.data.resize(static_cast<std::size_t>(noisy.shape.size()));
        std::vector<real> r(noisy.data.size());
        for (std::int32_t k = 0; k < count; ++k) {
          const double* const normals = noise(first + k, pixels);
          for (std::int64_t i = 0; i < pixels; ++i)
            noisy.data[static_cast<std::size_t>(k * pixels + i)] = static_cast<real>(image[i] + deviation * normals[i]);
          if (has_baseline())
            reference.data.insert(reference.data.end(), baseline.data + n * pixels, baseline.data + (n + 1) * pixels);
        }
        const std::vector<int> target(static_cast<std::size_t>(count), targets[static_cast<std::size_t>(n)]);
        of_->attribute(noisy.view(), target, has_baseline() ? reference.view() : TensorView{}, r.data());
        // Welford's update: no difference of large numbers.
        for (std::int32_t k = 0; k < count; ++k) {
          const real* const map = r.data() + k * pixels;
          double *const m = mean.data(), *const s = squares.data();
          const double share = 1.0 / (first + k + 1);
          for (std::int64_t i = 0; i < pixels; ++i) {
            const double delta = map[i] - m[i];
            m[i] += delta * share;
            s[i] += delta * (map[i] - m[i]);
          }
        }
      });
      for (std::int64_t i = 0; i < pixels; ++i) {
        const auto j = static_cast<std::size_t>(i);
        const double variance = squares[j] / samples_;
        relevance[n * pixels + i] = static_cast<real>(statistic_ == "mean"       ? mean[j]
                                                      : statistic_ == "variance" ? variance
                                                                                 : variance + mean[j] * mean[j]);
      }
    }
  }

 private:
  static constexpr std::int64_t kKept = std::int64_t{1} << 19;  ///< normals, 4 MB

  /// Of a sample, until the next call. Every image gets the same, so that an image's map does not depend on its place
  /// in the batch, and as many samples' as fit are drawn once.
  const double* noise(int sample, std::int64_t pixels) {
    const auto size = static_cast<std::size_t>(pixels);
    const bool keep = (sample + 1) * pixels <= kKept;
    std::vector<double>& values = keep ? kept_ : drawn_;
    const std::size_t at = keep ? static_cast<std::size_t>(sample) * size : 0;
    if (!keep || values.size() == at) {
      values.resize(at + size);
      kernels::table(kernels::active())
          .normals(derive_key(seed_, static_cast<std::uint64_t>(sample)), pixels, values.data() + at);
    }
    return values.data() + at;
  }

  MethodContext context_;
  std::vector<double> kept_, drawn_;  ///< of the first samples, of one later sample
  int samples_;
  double sigma_;
  std::uint64_t seed_;
  std::string statistic_;
  std::unique_ptr<Method> of_;
};

}  // namespace

const std::span<const Setting> integrated_settings = integrated_list, smoothgrad_settings = smoothgrad_list;

Quadrature make_quadrature(const std::string& rule, int n) {
  Quadrature q;
  if (rule == "gauss-legendre") {
    // Golub & Welsch 1969: nodes are the eigenvalues of the Legendre recurrence, weights come from the eigenvectors.
    Eigen::MatrixXd jacobi = Eigen::MatrixXd::Zero(n, n);
    for (int k = 1; k < n; ++k) jacobi(k, k - 1) = jacobi(k - 1, k) = k / std::sqrt(4.0 * k * k - 1);
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(jacobi);
    for (int k = 0; k < n; ++k) {
      q.at.push_back((1 + solver.eigenvalues()[k]) / 2);
      q.weight.push_back(solver.eigenvectors()(0, k) * solver.eigenvectors()(0, k));
    }
    return q;
  }
  if (rule == "trapezoid" && n < 2) throw Error("quadrature=trapezoid needs steps of at least 2", Error::usage);
  for (int k = 0; k < n; ++k) {
    const bool end = k == 0 || k == n - 1;
    q.at.push_back(rule == "left"       ? static_cast<double>(k) / n
                   : rule == "right"    ? (k + 1.0) / n
                   : rule == "midpoint" ? (k + 0.5) / n
                                        : static_cast<double>(k) / (n - 1));
    q.weight.push_back(rule == "trapezoid" ? (end ? 0.5 : 1.0) / (n - 1) : 1.0 / n);
  }
  return q;
}

std::unique_ptr<Method> make_integrated_gradients(const MethodContext& c, const Settings& s) {
  return std::make_unique<IntegratedGradients>(c, s);
}

std::unique_ptr<Method> make_smoothgrad(const MethodContext& c, const Settings& s) {
  const std::string& of = s.text("of");
  if (of == "smoothgrad") s.refuse("of", "another method than smoothgrad");
  std::map<std::string, std::string> inner;
  for (const auto& [key, value] : c.request.settings)
    if (key.starts_with("of.")) inner[key.substr(3)] = value;
  MethodContext noisy = c;
  noisy.together = {std::min(static_cast<std::int32_t>(s.integer("samples")), SmoothGrad::kTogether), true};
  return std::make_unique<SmoothGrad>(c, s, make_method(noisy, of, inner));
}

}  // namespace vitrine
