// A network on an engine and what belongs to both: made once, shared by all methods that are asked about it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/data/dataset.h"
#include "models/given.h"
#include "models/model.h"

namespace vitrine {

/// Not thread-safe: one Subject per thread that runs methods. The model, the engine and the data must outlive it, and
/// the parameters must not change.
class Subject {
 public:
  static constexpr std::size_t usual_budget = std::size_t{512} << 20;

  /// `memory_budget`: bytes that the sessions of one method may take together; batches are chosen to fit.
  Subject(const Model& model, const Engine& engine, const data::Dataset* data = nullptr,
          std::size_t memory_budget = usual_budget, std::uint64_t seed = 0)
      : model_(model),
        engine_(engine),
        data_(data),
        memory_budget_(engine.memory() > 0 ? std::min(memory_budget, engine.memory()) : memory_budget),
        seed_(seed) {}
  Subject(const Subject&) = delete;

  const Model& model() const noexcept { return model_; }
  const Engine& engine() const noexcept { return engine_; }
  std::size_t memory_budget() const noexcept { return memory_budget_; }
  std::uint64_t seed() const noexcept { return seed_; }
  bool has_data() const noexcept { return data_ != nullptr; }
  /// A usage Error if the caller gave none, an Error if its images do not fit the network.
  const data::Dataset& data() const;

  /// Values of the inputs beside the main one, by the number of the image in the call; of a network with one input:
  /// empty.
  void give(Given given) { given_ = std::move(given); }
  const Given& given() const noexcept { return given_; }

  /// The network with its batch norms merged into the layers before them; the network itself if there are none. Made
  /// when it is first asked for. `keep`: nodes whose values must stay what they are in model(); a node that is merged
  /// away is found in the copy by its old name (Model::node).
  const Model& merged(const std::vector<std::string>& keep = {});

  /// The result of a node, by the node's name or an alias. A usage Error lists the names.
  Id value(const std::string& node) const { return model_.graph().nodes[model_.node(node)].out; }

  /// A session that methods share: the one that an earlier call made under the same key, or the result of `make`. The
  /// key must name everything that the session depends on. Sessions that nobody holds are kept while all of them fit
  /// the memory budget, those that were used last first. An empty key is not shared.
  template <class Make>
  std::shared_ptr<Session> session(const std::string& key, Make&& make) {
    if (std::shared_ptr<Session> found = kept(key)) return found;
    std::shared_ptr<Session> made = make();
    if (!key.empty()) keep(key, made);
    return made;
  }

  /// How many sessions are kept for sharing.
  std::size_t shared_sessions() const noexcept { return sessions_.size(); }

  /// What has been run on this subject so far, counted per image, and the most that one plan took.
  struct Runs {
    std::int64_t forward = 0, backward = 0;
    std::size_t peak_bytes = 0;
  };
  const Runs& runs() const noexcept { return runs_; }
  void count(std::int64_t forward, std::int64_t backward, const Session& session) noexcept {
    runs_.forward += forward;
    runs_.backward += backward;
    runs_.peak_bytes = std::max(runs_.peak_bytes, session.plan().bytes());
  }

  /// SHA-256 of the parameters and the graph, as hexadecimal digits; made when it is first asked for.
  const std::string& digest();

 private:
  struct Kept {
    std::string key;
    std::shared_ptr<Session> session;
  };
  std::shared_ptr<Session> kept(const std::string& key);
  void keep(const std::string& key, std::shared_ptr<Session>);

  const Model& model_;
  const Engine& engine_;
  const data::Dataset* data_;
  std::size_t memory_budget_;
  std::uint64_t seed_;
  Given given_;
  std::map<std::vector<std::string>, std::unique_ptr<const Model>> merged_;
  std::list<Kept> sessions_;  // the last used first
  Runs runs_;
  std::string digest_;
};

}  // namespace vitrine
