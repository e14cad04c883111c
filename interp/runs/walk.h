// Forward runs and walks from an objective, in batches that fit the memory budget: what gradients, relevance and
// multipliers are made with.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/host/job.h"
#include "interp/runs/batch_size.h"
#include "interp/runs/objective.h"
#include "interp/runs/subject.h"

namespace vitrine {

/// A line of the ledger over all images explained. Sums are of relevance (or gradient, or multipliers).
struct LedgerRow {
  std::string node, op, rule;
  kernels::Stats out, in;
  double absorbed_by_bias = 0, absorbed_by_stabiliser = 0, seconds = 0;
  std::size_t bytes = 0;
  /// What neither arrived nor was absorbed: 0 for conserving rules; alpha-beta without a negative part, for one, makes
  /// some.
  double unplaced() const noexcept { return out.sum - in.sum - absorbed_by_bias - absorbed_by_stabiliser; }
};
/// Adds the lines of `more` to those of the same nodes; an empty `total` becomes a copy.
void add_ledger(std::vector<LedgerRow>& total, const std::vector<LedgerRow>& more);

/// What a walk met on its way, per image.
struct Scored {
  std::vector<Target> target;
  std::vector<double> score;     ///< the objective's number
  std::vector<double> baseline;  ///< likewise at the image's baseline, if there is one
};

/// Images of one call, their objective or targets, and their baselines.
struct Query {
  TensorView x;  ///< (N,C,H,W)
  const Objective* objective = nullptr;
  std::span<const Target> targets{};  ///< one per image; empty: those that the objective gives
  TensorView baseline{};              ///< of x's shape; no data: none
  std::int64_t first = 0;             ///< the number of x's first image in the call
  bool one_image = false;             ///< all of x are made from that image

  /// The images [begin, begin + count).
  Query part(std::int32_t begin, std::int32_t count) const;
};

/// Gives a session the values of the inputs beside the main one, for a query's images (Subject::given).
void give_others(const Subject&, Session&, const Query&);

class Walk {
 public:
  struct Options {
    Id until = no_id;           ///< the value whose signal is wanted; no_id: the input
    std::vector<Id> keep = {};  ///< values that stay readable
    /// A second run, of each image's baseline, beside the first; `one_reference`: of one baseline for all images.
    bool reference = false, one_reference = false;
    bool ledger = false;
    int channels = 1;  ///< signals per value
    Observer* observer = nullptr;
    std::int32_t batch = 0;  ///< 0: as many as fit
    Demand demand{};
    /// Names the rules, if methods with the same rules may share the session; empty: they may not.
    std::string shared_as = "";
  };
  /// `model`: the subject's network or its merged copy; `rules`, one per node of it, must outlive the walk. Throws a
  /// usage Error if a rule refuses its node.
  Walk(Subject&, const Model& model, const std::vector<const Rule*>& rules, const Objective&, Options);

  /// The signal at the objective's value: its weights, or weights times value.
  enum class Seed { weights, relevance };
  /// Runs one batch of at most batch() images forward and back. Appends to `scored` unless that is null.
  void run(const Query&, Seed, Scored* scored = nullptr);
  /// Forward alone, of one batch and its baselines if there are any: appends to `scored`.
  void score(const Query&, Scored& scored);

  std::int32_t batch() const noexcept { return options_.batch; }
  /// The signal that arrived at `until`, one block per image.
  HostTensor signal(int channel = 0) const { return session_->peek(session_->run().signal(options_.until, channel)); }
  HostTensor value(Id v) const { return session_->peek(session_->run().value(v)); }
  Session& session() noexcept { return *session_; }
  /// Adds the ledger of the last run; nothing without Options::ledger.
  void collect(std::vector<LedgerRow>&) const;

  /// Calls body(first, count) for all of n images in batches of at most batch(): multiples of Session::batch_multiple
  /// first, the rest last. Reports progress and stops as the job says.
  void in_batches(std::int32_t n, const Job&, const std::function<void(std::int32_t, std::int32_t)>& body) const;

 private:
  void run_reference(const TensorView& images);

  Subject& subject_;
  const Model& model_;
  Options options_;
  Id from_;
  std::vector<const Rule*> rules_;
  std::shared_ptr<Session> session_;
  std::vector<LedgerLine> lines_;
  std::vector<real> seed_;
  std::vector<real> reference_;  ///< one_reference: the image that the session's reference run has seen
};

/// Calls body(first, count) for n items in batches, reporting progress and stopping as the job says.
void in_batches(std::int32_t n, std::int32_t batch, const Job&,
                const std::function<void(std::int32_t, std::int32_t)>& body);

}  // namespace vitrine
