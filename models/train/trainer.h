// Training: batches in, one walk with the gradient rule, in which the optimiser moves every parameter as soon as its
// gradient is there.
//
// A run is a pure function of (model, data, options): batches, augmentation and dropout come from counter-based random
// numbers, and no result depends on the number of threads, so a resumed run continues bit for bit.
#pragma once

#include <functional>
#include <string>

#include "models/data/dataset.h"
#include "models/data/loader.h"
#include "models/model.h"
#include "models/train/optimizer.h"
#include "models/train/schedule.h"

namespace vitrine {

/// Takes part in training beside the task's loss: an observer of its runs that knows the batch. It may add to signals
/// (a loss on an inner layer) and keep state in untrainable parameters. Whatever it does must be a function of batch,
/// epoch, parameters and its own options, so that runs can be repeated and resumed.
class TrainHook : public Observer {
 public:
  /// Before the batch's forward run; the batch stays until the step is done. `epoch` counts from 0.
  virtual void start_batch(const data::Batch&, int epoch) = 0;
  /// Its options in one line: a resumed run must have the same.
  virtual std::string describe() const = 0;

 protected:
  ~TrainHook() = default;
};

struct TrainOptions {
  int epochs = 10, batch = 64;
  Optimizer optimizer = Optimizer::nesterov;
  double lr = 0;  ///< 0: the optimiser's usual one (0.02 for SGD, 0.001 for Adam)
  double momentum = 0.9, weight_decay = 5e-4;
  double ema =
      0;  ///< above 0: the model is the moving average of the parameters with this decay, ramped up as (1+t)/(10+t)
  std::string schedule = "cosine";
  std::uint64_t seed = 1;
  data::Augment augment;
  std::string out;  ///< model file; its training state stands beside it as OUT.state until training is complete
  bool resume = false;
  bool recompute = false;           ///< less memory for a third more time: PlanRequest::recompute
  bool task_loss = true;            ///< false: the hook's loss alone
  std::vector<std::string> frozen;  ///< patterns of nodes whose parameters do not move
  TrainHook* hook = nullptr;        ///< stays the caller's
};

/// What a progress display wants to know, after each step.
struct TrainProgress {
  int epoch = 0, epochs = 0;         ///< counting from 1
  std::int64_t step = 0, steps = 0;  ///< within the epoch
  double loss = 0, accuracy = 0;     ///< running means of this epoch
  double images_per_second = 0, seconds_left = 0;
  bool epoch_done = false;
  double test_accuracy = 0;  ///< valid when epoch_done
};

struct TrainResult {
  double test_accuracy = 0, train_loss = 0;
  int epochs_done = 0;
  bool stopped = false;  ///< the job was stopped; the state is saved
};

/// Trains in place. Tells `progress` (which may be empty) and the job after each step; saves the model and the training
/// state after every epoch, and when the job is stopped. Throws Error when the loss is not finite, naming the node that
/// made it.
TrainResult train(Model&, const Engine&, const data::TrainTest&, const TrainOptions&,
                  const std::function<void(const TrainProgress&)>& progress, const Job&);

struct EvalResult {
  double accuracy = 0, loss = 0;
  std::vector<std::int64_t> correct, count;  ///< per class
  std::vector<std::int64_t> confusion;       ///< classes x classes: images of a class (row) by what was predicted
};

/// Over the first `images` of the set; 0: all.
EvalResult evaluate(const Model&, const Engine&, const data::Dataset&, const Job& = {}, std::int64_t images = 0);

}  // namespace vitrine
