#include "interp/runs/subject.h"

#include <algorithm>

#include "core/host/io/sha256.h"
#include "models/merge.h"

namespace vitrine {

const data::Dataset& Subject::data() const {
  if (data_ == nullptr) throw Error("this needs a data set: name one with --data", Error::usage);
  if (data_->image_shape() != model_.image_shape())
    throw Error("the data has images of " + text(data_->image_shape()) + ", but the network takes " +
                text(model_.image_shape()));
  return *data_;
}

const Model& Subject::merged(const std::vector<std::string>& keep) {
  if (!has_mergeable_batch_norm(model_, keep)) return model_;
  // What merging leaves alone anyway needs no copy of its own.
  std::vector<std::string> key;
  for (const std::string& node : keep)
    if (merging_changes(model_, node)) key.push_back(node);
  std::sort(key.begin(), key.end());
  key.erase(std::unique(key.begin(), key.end()), key.end());
  std::unique_ptr<const Model>& copy = merged_[key];
  if (!copy) copy = std::make_unique<const Model>(merge_batch_norms(model_, key));
  return *copy;
}

std::shared_ptr<Session> Subject::kept(const std::string& key) {
  const auto at = std::find_if(sessions_.begin(), sessions_.end(), [&](const Kept& k) { return k.key == key; });
  if (key.empty() || at == sessions_.end()) return nullptr;
  sessions_.splice(sessions_.begin(), sessions_, at);
  return at->session;
}

void Subject::keep(const std::string& key, std::shared_ptr<Session> session) {
  sessions_.push_front({key, std::move(session)});
  std::size_t bytes = 0;
  for (auto at = sessions_.begin(); at != sessions_.end();) {
    bytes += at->session->plan().bytes();
    const bool idle = at->session.use_count() == 1;
    at = bytes > memory_budget_ && idle ? sessions_.erase(at) : std::next(at);
  }
}

const std::string& Subject::digest() {
  if (digest_.empty()) {
    io::Sha256 hash;
    hash.add(model_to_json(model_));
    hash.add(model_.parameters.data(), model_.parameters.size() * sizeof(real));
    digest_ = hash.hexadecimal();
  }
  return digest_;
}

}  // namespace vitrine
