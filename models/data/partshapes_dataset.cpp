// PartShapes as a data set: partshapes[:TASK,removal,size=S,train=N,test=N,master=M,samples=K]; its options serve its
// files, too.
#include <atomic>
#include <charconv>
#include <memory>

#include "models/data/partshapes.h"
#include "models/data/sources.h"

namespace vitrine::data {
namespace {

using Options = PartShapesOptions;

std::string known_tasks() {
  std::string s;
  for (int t = 0; t < task_count; ++t) {
    const auto task = static_cast<Task>(t);
    s += (t == 0 ? "" : ", ") + std::string(task_name(task)) +
         (task == Task::code9c       ? "(RHO)"
          : task == Task::bam_graded ? "(1..6)"
                                     : "");
  }
  return s;
}

// Usual sizes of the parts, by task.
void usual_sizes(Options& o) {
  using enum Task;
  switch (o.task.task) {
    case code9:
    case near9:
    case code9c:
      o.train = 12000, o.validation = 1500, o.test = 1500;
      break;
    case kind3:
      o.train = 3600, o.validation = 300, o.test = 600;
      break;
    case bam_obj:
    case bam_scene:
    case scene_only:
    case bam_graded:
      o.train = 6000, o.validation = 500, o.test = 600;
      break;
    default:
      o.train = 6000, o.validation = 500, o.test = 1000;
      break;
  }
}

// One word of a spec: removal, or key=value.
void parse_word(const std::string& w, Options& o) {
  const std::size_t equals = w.find('=');
  const std::string key = w.substr(0, equals);
  std::int64_t v = 0;
  if (equals != std::string::npos) {
    const auto [end, error] = std::from_chars(w.data() + equals + 1, w.data() + w.size(), v);
    if (error != std::errc{} || end != w.data() + w.size()) v = -1;
  }
  const auto in = [&](std::int64_t low, std::int64_t high) {
    if (v < low || v > high)
      throw Error("partshapes: option '" + w + "': expected " + key + " from " + std::to_string(low) + " to " +
                      std::to_string(high),
                  Error::usage);
  };
  if (w == "removal")
    o.removal = true;
  else if (key == "size" && equals != std::string::npos)
    in(32, 1024), o.size = static_cast<int>(v);
  else if (key == "train" && equals != std::string::npos)
    in(1, 10000000), o.train = v;
  else if (key == "test" && equals != std::string::npos)
    in(1, 10000000), o.test = v;
  else if (key == "validation" && equals != std::string::npos)
    in(0, 10000000), o.validation = v;
  else if (key == "interventions" && equals != std::string::npos)
    in(0, 10000000), o.interventions = v;
  else if (key == "master" && equals != std::string::npos)
    in(0, 1000000000), o.master = static_cast<std::uint64_t>(v);
  else if (key == "samples" && equals != std::string::npos)
    in(1, 8), o.samples = static_cast<int>(v);
  else
    throw Error("partshapes: unknown variant '" + w + "': expected a task (" + known_tasks() +
                    "), det, removal, size=S, train=N, validation=N, test=N, interventions=N, master=M or samples=K",
                Error::usage);
}

}  // namespace

Options parse_partshapes(const std::string& spec) {
  Options o;
  std::vector<std::string> words(1);
  for (const char c : spec)
    if (c == ',')
      words.emplace_back();
    else
      words.back() += c;
  std::size_t first = 0;
  if (const auto task = parse_task_word(words[0])) {
    o.task = *task;
    first = 1;
  }
  usual_sizes(o);
  if (words[0] == "det") {
    o.detection = true;
    o.size = 128, o.samples = 2, o.train = 3000, o.validation = 300, o.test = 500;
    first = 1;
  }
  for (std::size_t i = spec.empty() ? words.size() : first; i < words.size(); ++i) parse_word(words[i], o);
  if (o.size % 16 != 0)
    throw Error("partshapes: size=" + std::to_string(o.size) + ": expected a multiple of 16", Error::usage);
  if (o.removal && o.detection) throw Error("partshapes: removal is defined for code9 and code9c", Error::usage);
  if (o.removal && o.task.task != Task::code9 && o.task.task != Task::code9c)
    throw Error("partshapes: removal is defined for code9 and code9c", Error::usage);
  return o;
}

namespace {

constexpr const char* landmark_names[3][4] = {
    {"head", "wing", "tail", "legs"}, {"roof", "door", "window", "chimney"}, {"cabin", "load", "wheel1", "wheel2"}};
// What a critter's attribute says of which part.
struct Said {
  int part;
  const char* values[3];
};
constexpr Said said[] = {{0, {"circle", "square", "triangle"}}, {1, {"plain", "striped", "dotted"}},
                         {2, {"red", "green", "blue"}},         {3, {"one", "two", "three"}},
                         {0, {"yellow", "cyan", "magenta"}},    {1, {"yellow", "cyan", "magenta"}},
                         {2, {"bar", "wedge", "ellipse"}},      {3, {"dark", "light", nullptr}}};

class PartShapes final : public Dataset {
 public:
  PartShapes(const Options& o, bool train, std::string spec)
      : o_(o),
        train_(train),
        spec_(std::move(spec)),
        count_(train ? o.train : o.test),
        samples_(std::make_unique<std::atomic<Sample*>[]>(static_cast<std::size_t>(count_))) {}
  ~PartShapes() override {
    for (std::int64_t i = 0; i < count_; ++i) delete samples_[static_cast<std::size_t>(i)].load();
  }
  std::int64_t size() const override { return count_; }
  std::string digest() const override { return digest_of_text("partshapes", spec_, train_); }
  void release(std::int64_t first, std::int64_t count) const override {
    for (std::int64_t i = first; i < first + count; ++i) delete samples_[static_cast<std::size_t>(i)].exchange(nullptr);
  }
  Shape image_shape() const override { return {1, 3, o_.size, o_.size}; }
  int classes() const override { return task_classes(o_.task.task); }
  std::string class_name(int k) const override { return vitrine::data::class_name(o_.task.task, k); }
  int label(std::int64_t i) const override { return sample(i).label; }
  void image(std::int64_t i, float* chw) const override {
    const Sample& s = sample(i);
    for (std::size_t k = 0; k < s.image.size(); ++k) chw[k] = static_cast<float>(s.image[k]) / 255;
  }
  void target(std::int64_t i, float* distribution) const override {
    const Sample& s = sample(i);
    std::copy(s.target.begin(), s.target.end(), distribution);
  }
  bool masks(std::int64_t i, std::uint8_t* object, std::uint8_t* parts) const override {
    const Sample& s = sample(i);
    for (std::size_t k = 0; k < s.parts.size(); ++k) {
      parts[k] = s.parts[k];
      object[k] = s.object[k];
    }
    return true;
  }
  std::vector<std::string> part_names() const override {
    return {"background", "body", "head",   "wing",    "tail", "legs",  "distractor", "tag",    "wall",
            "roof",       "door", "window", "chimney", "deck", "cabin", "load",       "wheel1", "wheel2"};
  }
  std::vector<std::string> point_names() const override {
    std::vector<std::string> names;
    for (const auto& kind : landmark_names) names.insert(names.end(), std::begin(kind), std::end(kind));
    for (const Said& s : said)
      for (const char* value : s.values)
        if (value != nullptr) names.push_back(std::string(landmark_names[0][s.part]) + "." + value);
    return names;
  }
  std::vector<PointLabel> points(std::int64_t i) const override {
    const Sample& s = sample(i);
    std::vector<PointLabel> out;
    for (std::size_t k = 0; k < 4; ++k)
      if (s.drawn && s.visible[k])
        out.push_back({s.kind * 4 + static_cast<int>(k), s.landmarks[k][0], s.landmarks[k][1]});
    if (!s.drawn || s.kind != 0) return out;
    int name = 12;
    for (std::size_t a = 0; a < std::size(said); ++a) {
      const auto part = static_cast<std::size_t>(said[a].part);
      if (const int value = s.attr[a]; value >= 0 && s.visible[part])
        out.push_back({name + value, s.landmarks[part][0], s.landmarks[part][1]});
      name += said[a].values[2] != nullptr ? 3 : 2;
    }
    return out;
  }
  Preprocessing suggested() const override { return {{0.43f, 0.42f, 0.43f}, {0.18f, 0.17f, 0.18f}}; }

 private:
  // Rendered once, when first asked for. Two threads may render the same image; one copy is kept, they are equal.
  const Sample& sample(std::int64_t i) const {
    std::atomic<Sample*>& slot = samples_[static_cast<std::size_t>(i)];
    Sample* s = slot.load(std::memory_order_acquire);
    if (s != nullptr) return *s;
    auto made = std::make_unique<Sample>(
        render(o_.task, o_.master, train_ ? 0 : 2, i, o_.size, o_.samples, {}, o_.removal && train_));
    if (slot.compare_exchange_strong(s, made.get(), std::memory_order_acq_rel)) s = made.release();
    return *s;
  }

  Options o_;
  bool train_;
  std::string spec_;
  std::int64_t count_;
  std::unique_ptr<std::atomic<Sample*>[]> samples_;
};

}  // namespace

std::unique_ptr<Dataset> open_partshapes(const std::string& spec, Part part) {
  const Options o = parse_partshapes(spec);
  if (o.detection)
    throw Error(
        "partshapes:det has boxes, not a class an image: it can only be written as files (vitrine data partshapes:det "
        "--files --out DIR)",
        Error::usage);
  return std::make_unique<PartShapes>(o, part == Part::train, spec);
}

}  // namespace vitrine::data
