// Long work as its caller sees it: how far it is, whether it should end, and where it may keep what later runs can use.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "core/host/error.h"

namespace vitrine {

/// Thrown by Job::check when the caller wants the work to end. What has been finished stays.
class Stopped : public Error {
 public:
  Stopped() : Error("stopped") {}
};

/// Handed down by const reference through everything that can take long. A default Job is watched by nobody, is never
/// stopped and keeps nothing.
class Job {
 public:
  Job() = default;
  /// `progress` is called with the share that is done, in [0,1] and never falling. `stop` is asked between pieces of
  /// work. `cache` names a folder for results that later runs may reuse; empty: none. All may be called from the thread
  /// that does the work only.
  Job(std::function<void(double)> progress, std::function<bool()> stop, std::string cache = "")
      : progress_(std::move(progress)), stop_(std::move(stop)), cache_(std::move(cache)) {}

  /// `share` of this job is done.
  void progress(double share) const {
    if (progress_) progress_(from_ + (to_ - from_) * share);
  }
  /// Throws Stopped if the caller wants to end.
  void check() const {
    if (stopped()) throw Stopped();
  }
  /// Whether the caller wants to end: for work that has something to save first.
  bool stopped() const { return stop_ && stop_(); }
  /// The piece of this job between two shares of it: its own progress runs from 0 to 1.
  Job part(double from, double to) const {
    Job piece = *this;
    piece.from_ = from_ + (to_ - from_) * from;
    piece.to_ = from_ + (to_ - from_) * to;
    return piece;
  }
  /// The same without progress: for work whose caller reports it.
  Job quiet() const { return {{}, stop_, cache_}; }
  const std::string& cache() const noexcept { return cache_; }

 private:
  std::function<void(double)> progress_;
  std::function<bool()> stop_;
  std::string cache_;
  double from_ = 0, to_ = 1;
};

}  // namespace vitrine
