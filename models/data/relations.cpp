// Relations: small worlds in which the class depends only on where patterns lie to each other, never on how one looks:
// what the language of models/inside/rule_language.h can say and a classifier of patterns cannot.
// relations[:TASK,train=N,test=N,master=M]:
//   order   64 x 64, one disk and one square at least 30 pixels apart (8 across); class 1: the disk is left of the
//   square count   64 x 64, one to five disks; class 1: exactly three pulses  1 x 256, equal pulses a second (32
//   samples) apart by N(1, 0.02); class 1: one comes after 0.6, and the next waits for it
#include <charconv>
#include <cmath>

#include "kernels/normal.h"
#include "models/data/sources.h"

namespace vitrine::data {
namespace {

enum class World { order, count, pulses };

struct Options {
  World world = World::order;
  std::int64_t train = 5000, test = 1000;
  std::uint64_t master = 1;
};

Options parse(const std::string& spec) {
  Options o;
  std::size_t at = 0;
  while (at < spec.size()) {
    const std::size_t end = std::min(spec.find(',', at), spec.size());
    const std::string w = spec.substr(at, end - at), key = w.substr(0, w.find('='));
    at = end + 1;
    std::int64_t v = -1;
    if (w.size() > key.size() + 1) {
      const auto [stop, error] = std::from_chars(w.data() + key.size() + 1, w.data() + w.size(), v);
      if (error != std::errc{} || stop != w.data() + w.size()) v = -1;
    }
    if (w == "order")
      o.world = World::order;
    else if (w == "count")
      o.world = World::count;
    else if (w == "pulses")
      o.world = World::pulses;
    else if (key == "train" && v >= 1 && v <= 10000000)
      o.train = v;
    else if (key == "test" && v >= 1 && v <= 10000000)
      o.test = v;
    else if (key == "master" && v >= 0)
      o.master = static_cast<std::uint64_t>(v);
    else
      throw Error("relations: unknown variant '" + w + "': expected order, count, pulses, train=N, test=N or master=M",
                  Error::usage);
  }
  return o;
}

class Relations final : public Dataset {
 public:
  Relations(const Options& o, bool train, std::string spec)
      : o_(o),
        train_(train),
        spec_(std::move(spec)),
        count_(train ? o.train : o.test),
        key_(derive_key(derive_key(o.master, 0x52454c), train ? 0 : 1)) {}
  std::int64_t size() const override { return count_; }
  Shape image_shape() const override { return o_.world == World::pulses ? Shape{1, 1, 1, 256} : Shape{1, 1, 64, 64}; }
  std::string digest() const override { return digest_of_text("relations", spec_, train_); }
  int classes() const override { return 2; }
  std::string class_name(int k) const override {
    constexpr const char* names[3][2] = {
        {"square left", "disk left"}, {"not three", "three"}, {"regular", "premature"}};
    return names[static_cast<std::size_t>(o_.world)][k];
  }
  int label(std::int64_t i) const override { return scene(i).label; }
  std::vector<std::string> point_names() const override { return {"disk", "square", "pulse"}; }
  std::vector<PointLabel> points(std::int64_t i) const override { return scene(i).points; }
  Preprocessing suggested() const override { return {{0.25f}, {0.2f}}; }

  void image(std::int64_t i, float* pixels) const override {
    const Scene s = scene(i);
    const Shape shape = image_shape();
    for (std::int32_t y = 0; y < shape.h(); ++y)
      for (std::int32_t x = 0; x < shape.w(); ++x) {
        double v = 0.2;
        for (const PointLabel& p : s.points) {
          const double dx = x + 0.5 - static_cast<double>(p.x), dy = y + 0.5 - static_cast<double>(p.y);
          if (p.name == 0 && dx * dx + dy * dy <= 30) v = 0.8;                     // area 94
          if (p.name == 1 && std::abs(dx) <= 4.8 && std::abs(dy) <= 4.8) v = 0.8;  // area 92
          if (p.name == 2) v += 0.6 * std::exp(-0.5 * dx * dx / 2.25) - 0.15 * std::exp(-0.5 * (dx - 5) * (dx - 5) / 4);
        }
        const double noise =
            static_cast<double>(philox_uniform(derive_key(s.key, 1), static_cast<std::uint64_t>(y * shape.w() + x))) -
            0.5;
        pixels[y * shape.w() + x] = static_cast<float>(v + 0.2 * noise);
      }
  }

 private:
  struct Scene {
    std::uint64_t key = 0;
    int label = 0;
    std::vector<PointLabel> points;
  };

  Scene scene(std::int64_t i) const {
    Scene s;
    s.key = derive_key(key_, static_cast<std::uint64_t>(i));
    std::uint64_t draws = 0;
    const auto u = [&] { return static_cast<double>(philox_uniform(s.key, draws++)); };
    if (o_.world == World::pulses) {
      s.label = u() < 0.5 ? 0 : 1;
      const int early = 2 + static_cast<int>(u() * 4);
      double t = 12 + 20 * u();
      for (int beat = 0; t < 250; ++beat) {
        s.points.push_back({2, static_cast<float>(t), 0.5f});
        const double gap = 1 + 0.02 * philox_normal(derive_key(s.key, 2), static_cast<std::uint64_t>(beat));
        // The beat after `early` comes too soon; the next keeps the old time.
        t += 32 * (s.label == 1 && beat == early ? gap - 0.4 : s.label == 1 && beat == early + 1 ? gap + 0.4 : gap);
      }
      return s;
    }
    const auto place = [&] { return std::pair{static_cast<float>(7 + 50 * u()), static_cast<float>(7 + 50 * u())}; };
    if (o_.world == World::order) {
      for (;;) {
        const auto [ax, ay] = place();
        const auto [bx, by] = place();
        if (std::hypot(ax - bx, ay - by) < 30 || std::abs(ax - bx) < 8) continue;
        s.points = {{0, ax, ay}, {1, bx, by}};
        s.label = ax < bx;
        return s;
      }
    }
    constexpr int others[] = {1, 2, 4, 5};
    s.label = u() < 0.5 ? 0 : 1;
    const auto wanted = static_cast<std::size_t>(s.label == 1 ? 3 : others[static_cast<std::size_t>(u() * 4)]);
    // Five disks 16 pixels apart always find room, but not from every start.
    for (int tries = 0; s.points.size() < wanted; ++tries) {
      if (tries == 200) s.points.clear(), tries = 0;
      const auto [x, y] = place();
      bool free = true;
      for (const PointLabel& p : s.points) free = free && std::hypot(p.x - x, p.y - y) >= 16;
      if (free) s.points.push_back({0, x, y});
    }
    return s;
  }

  Options o_;
  bool train_;
  std::string spec_;
  std::int64_t count_;
  std::uint64_t key_;
};

}  // namespace

std::unique_ptr<Dataset> open_relations(const std::string& spec, Part part) {
  return std::make_unique<Relations>(parse(spec), part == Part::train, spec);
}

}  // namespace vitrine::data
