// Training that is interrupted where it hurts most: between the last state and the last model.
#include <filesystem>

#include "models/architectures.h"
#include "models/train/trainer.h"
#include "tests/support/files.h"

using namespace vitrine;

TEST_SUITE_BEGIN("training");

TEST_CASE("a run that ended between its last state and its last model gives the model when it is resumed") {
  const test::Folder folder;
  const data::TrainTest data = data::open_for_training("relations:order,train=40,test=20");
  const Engine engine(1);
  for (const double ema : {0.0, 0.9}) {
    CAPTURE(ema);
    TrainOptions o;
    o.epochs = 2;
    o.batch = 10;
    o.ema = ema;
    o.out = folder / "m.safetensors";
    const auto fresh = [&] { return make_model("lenet5", data.train->image_shape(), 2, 1); };
    // Copies of the last state, as it is before the model is written, and of the model before it.
    const auto keep = [&](const TrainProgress& p) {
      if (!p.epoch_done) return;
      std::filesystem::copy_file(o.out + ".state", folder / "kept.state",
                                 std::filesystem::copy_options::overwrite_existing);
      if (p.epoch == 1)
        std::filesystem::copy_file(o.out, folder / "first", std::filesystem::copy_options::overwrite_existing);
    };
    Model whole = fresh();
    const TrainResult expected = train(whole, engine, data, o, keep, {});
    const std::string bytes = test::read(o.out);
    CHECK(!std::filesystem::exists(o.out + ".state"));
    for (const bool with_first : {true, false}) {
      std::filesystem::remove(o.out);
      if (with_first) std::filesystem::copy_file(folder / "first", o.out);
      std::filesystem::copy_file(folder / "kept.state", o.out + ".state");
      Model again = fresh();
      o.resume = true;
      const TrainResult r = train(again, engine, data, o, {}, {});
      CHECK(r.epochs_done == 2);
      CHECK(r.test_accuracy == expected.test_accuracy);
      CHECK(again.parameters == whole.parameters);
      CHECK(test::read(o.out) == bytes);
      CHECK(!std::filesystem::exists(o.out + ".state"));
    }
    // Other data of the same size is another run.
    std::filesystem::copy_file(folder / "kept.state", o.out + ".state");
    const data::TrainTest other = data::open_for_training("relations:order,train=40,test=20,master=9");
    Model m = fresh();
    test::refused([&] { train(m, engine, other, o, {}, {}); }, "other options");
    std::filesystem::remove(o.out + ".state");
  }
}

TEST_CASE("a place that cannot be written is noticed before the first epoch") {
  const data::TrainTest data = data::open_for_training("relations:order,train=10,test=10");
  Model m = make_model("lenet5", data.train->image_shape(), 2, 1);
  TrainOptions o;
  o.out = "/nowhere/m.safetensors";
  int steps = 0;
  test::refused([&] { train(m, Engine(1), data, o, [&](const TrainProgress&) { ++steps; }, {}); },
                "/nowhere/m.safetensors");
  CHECK(steps == 0);
}

TEST_SUITE_END();
