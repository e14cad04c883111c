// Methods by name: what each is called with, and what it answers. interp/methods.cpp holds the one list.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/host/job.h"
#include "interp/perturb/baseline.h"
#include "interp/result/card.h"
#include "interp/result/result.h"
#include "interp/runs/composite_file.h"
#include "interp/runs/walk.h"

namespace vitrine {

/// Relevance of the images of one query.
struct Answer {
  std::vector<real> relevance;  ///< of the shape of the query's images; raw, never normalised or clipped
  Scored scored;                ///< filled by methods that resolve targets on their way
  std::vector<LedgerRow> ledger;
  std::vector<std::vector<double>> features;  ///< per image: the features' values, where the method has such
  std::vector<std::vector<double>>
      standard_errors;                ///< of sampled values: one per feature, or the largest of all elements
  std::vector<std::string> warnings;  ///< sentences on what the reader of the map must know
  std::string note;                   ///< what the method chose itself, for people: "maps of conv5"
};

/// A method that gives single inputs a map, bound to a network and its settings.
struct AttributionCall;
class Attribution {
 public:
  virtual ~Attribution() = default;
  virtual Answer attribute(const Query&, const Job&) = 0;
  /// Whether attribute() computes scores and targets itself. Other methods get a query whose targets are resolved.
  virtual bool resolves_targets() const { return false; }
  /// Whether its queries have baselines: as its card says, or as the method says that it wraps.
  virtual bool has_baseline() const { return card_->takes_baseline; }
  const Card& card() const noexcept { return *card_; }

 private:
  friend std::unique_ptr<Attribution> make_attribution(const std::string&, const AttributionCall&);
  const Card* card_ = nullptr;
};

/// What an attribution is made from.
struct AttributionCall {
  Subject& subject;
  const Objective& objective;
  std::map<std::string, std::string> settings{};
  std::shared_ptr<const CompositeFile> composite{};  ///< of method lrp, instead of the setting; may be null
  std::vector<RuleChoice> rules{};                   ///< override single nodes, in order
  BaselineChoice baseline{};
  bool ledger = false;
  Demand demand{};

  /// Those of the settings that begin with "of.", without it: of the method that this one wraps.
  std::map<std::string, std::string> wrapped_settings() const;
};

/// What a study is made from. All subjects are networks on one engine; the first is the one that is studied.
struct StudyCall {
  std::vector<Subject*> subjects;
  std::vector<std::string> nodes{};
  std::int64_t images = 0;  ///< the first so many of the data; 0: all
  std::uint64_t seed = 0;
  Subject& subject() const { return *subjects[0]; }
};

/// One of the two is there: maps of single inputs (vitrine explain), or anything else (vitrine study). A constant:
/// entries are initialised before any code runs, so the order of files does not matter.
struct MethodEntry {
  Card card;
  std::unique_ptr<Attribution> (*attribution)(const AttributionCall&, const Settings&) = nullptr;
  Result (*study)(const StudyCall&, const Settings&, const Job&) = nullptr;
};

/// All methods, in the order of their listing.
std::span<const MethodEntry* const> method_entries();
/// By name; case is ignored, and '_' is '-'. A usage Error names the nearest and lists what there is. `study`: among
/// the studies, else among the attributions.
const MethodEntry& find_method(const std::string& name, bool study = false);

/// An attribution by name, with its settings checked. A usage Error if the method takes no rules or no baseline, and
/// some are given.
std::unique_ptr<Attribution> make_attribution(const std::string& name, const AttributionCall&);
/// Runs a study: fills in what is the same for all (settings, seed, files and digests, cost).
Result run_study(const std::string& name, const StudyCall&, const std::map<std::string, std::string>& settings,
                 const Job&);

}  // namespace vitrine
