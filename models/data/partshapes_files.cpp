#include "models/data/partshapes_files.h"

#include <bit>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/host/error.h"
#include "core/host/io/sha256.h"
#include "models/data/captions.h"
#include "models/data/sources.h"

namespace vitrine::data {
namespace {

namespace fs = std::filesystem;

// The files of one folder, written as NAME.part until all of them are complete.
class Files {
 public:
  Files(fs::path root, const fs::path& folder, std::map<std::string, std::string>& digests)
      : root_(std::move(root)), folder_(root_ / folder), digests_(digests) {
    std::error_code error;
    fs::create_directories(folder_, error);
    if (error) throw Error(folder_.string() + ": cannot be made: " + error.message());
  }
  ~Files() {
    for (auto& [name, file] : files_) {
      file->stream.close();
      std::error_code ignored;
      fs::remove(part(name), ignored);
    }
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  void write(const std::string& name, const void* data, std::size_t bytes) {
    std::unique_ptr<File>& file = files_[name];
    if (!file) {
      file = std::make_unique<File>();
      file->stream.open(part(name), std::ios::binary);
    }
    file->digest.add(data, bytes);
    file->stream.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
    if (!file->stream) throw Error(part(name).string() + ": cannot be written");
  }
  void text(const std::string& name, const std::string& t) { write(name, t.data(), t.size()); }
  template <class T>
  void numbers(const std::string& name, const std::vector<T>& v) {
    write(name, v.data(), v.size() * sizeof(T));
  }
  void header(const std::string& name, std::int64_t n, int channels, int size) {
    text(name, "PSH1");
    numbers<std::int32_t>(name, {static_cast<std::int32_t>(n), channels, size, size});
  }
  void commit() {
    for (auto& [name, file] : files_) {
      file->stream.close();
      std::error_code error;
      if (file->stream.fail()) throw Error(part(name).string() + ": cannot be written");
      fs::rename(part(name), folder_ / name, error);
      if (error) throw Error((folder_ / name).string() + ": cannot be written: " + error.message());
      digests_[fs::relative(folder_ / name, root_).generic_string()] = file->digest.hexadecimal();
    }
    files_.clear();
  }

 private:
  struct File {
    std::ofstream stream;
    io::Sha256 digest;
  };
  fs::path part(const std::string& name) const { return folder_ / (name + ".part"); }
  fs::path root_, folder_;
  std::map<std::string, std::string>& digests_;
  std::map<std::string, std::unique_ptr<File>> files_;
};

// Whether every object is a critter with all attributes, so that sentences and tables speak of each.
bool all_critters(Task t) {
  using enum Task;
  return t != place6 && t != kind3 && t != bam_obj && t != bam_scene && t != scene_only && t != bam_graded;
}

std::string table_header() {
  constexpr std::pair<const char*, int> columns[] = {{"head", 3},  {"wing", 3},  {"tail", 3},  {"legs", 3},
                                                     {"headc", 3}, {"wingc", 3}, {"tails", 3}, {"bodyg", 3}};
  std::string line;
  for (const auto& [name, values] : columns)
    for (int v = 0; v < values; ++v) line += std::string(name) + std::to_string(v) + ",";
  return line + "legc,flip,label\n";
}

std::string table_row(const Sample& s) {
  namespace at = attribute;
  std::string line;
  for (const int a : {at::head, at::wing, at::tail, at::legs, at::headc, at::wingc, at::tails, at::bodyg})
    for (int v = 0; v < 3; ++v) line += s.attr[static_cast<std::size_t>(a)] == v ? "1," : "0,";
  return line + std::to_string(s.attr[at::legc]) + "," + std::to_string(s.attr[at::flip]) + "," +
         std::to_string(s.label) + "\n";
}

void begin(Files& files, const PartShapesOptions& o, std::int64_t n) {
  files.header("images.bin", n, 3, o.size);
  for (const char* mask : {"parts.bin", "instance.bin", "distractor.bin"}) files.header(mask, n, 1, o.size);
  if (all_critters(o.task.task)) files.text("table.csv", table_header());
}

void append(Files& files, const PartShapesOptions& o, const Sample& s, int split, std::int64_t n) {
  files.numbers("images.bin", s.image);
  files.numbers("parts.bin", s.parts);
  files.numbers("instance.bin", s.object);  // one object: instance 1
  files.numbers("distractor.bin", s.distractor);
  files.numbers<std::int32_t>("labels.i32", {s.label});
  files.numbers("targets.f32", s.target);
  files.numbers<std::int32_t>("attr.i32", {s.attr.begin(), s.attr.end()});
  for (const auto& mark : s.landmarks) files.numbers<float>("landmarks.f32", {mark[0], mark[1]});
  if (!all_critters(o.task.task)) return;
  for (const Caption& c : captions(s.attr, o.master, split, n)) files.text("captions.txt", c.text + "\n");
  files.text("table.csv", table_row(s));
}

// What the parts of write_partshapes share.
struct Writing {
  const PartShapesOptions& o;
  const std::string& folder;
  const std::function<bool()>& stop;
  std::string task;
  std::map<std::string, std::string> digests{};
  nlohmann::ordered_json sets = nlohmann::ordered_json::array();

  void go_on() const {
    if (stop && stop()) throw Error("stopped");
  }
};

void append_detection(Files& files, const DetectionSample& s, std::int64_t n) {
  files.numbers("images.bin", s.image);
  files.numbers("parts.bin", s.parts);
  files.numbers("instance.bin", s.instance);
  for (std::size_t j = 0; j < s.objects.size(); ++j) {
    std::string line = std::to_string(n) + "," + std::to_string(j) + "," + std::to_string(s.objects[j].kind);
    for (const int v : s.objects[j].box) line += "," + std::to_string(v);
    files.text("boxes.csv", line + "\n");
  }
}

void write_split(Writing& w, int split, const char* name, std::int64_t count) {
  const PartShapesOptions& o = w.o;
  Files files(w.folder, fs::path(w.task) / name, w.digests);
  w.sets.push_back({{"task", w.task}, {"split", name}, {"images", count}});
  if (o.detection) {
    files.header("images.bin", count, 3, o.size);
    for (const char* mask : {"parts.bin", "instance.bin"}) files.header(mask, count, 1, o.size);
    files.text("boxes.csv", "n,object,kind,x1,y1,x2,y2\n");
  } else {
    begin(files, o, count);
  }
  for (std::int64_t n = 0; n < count; ++n) {
    w.go_on();
    if (o.detection)
      append_detection(files, render_detection(o.master, 40 + split, n, o.size, o.samples), n);
    else
      append(files, o, render(o.task, o.master, split, n, o.size, o.samples, {}, o.removal && split == 0), split, n);
  }
  files.commit();
}

// `parts`: every subset of each image's parts is removed; else every single distractor.
void write_interventions(Writing& w, bool parts) {
  const PartShapesOptions& o = w.o;
  const std::int64_t count = std::min(o.interventions, o.test);
  const char* const kind = parts ? "remove" : "distractor";
  Files files(w.folder, fs::path(w.task) / "interventions" / kind, w.digests);
  // How many rows there will be is in the headers, so the places of distractors are asked for first.
  std::vector<std::pair<std::int64_t, unsigned>> rows;
  for (std::int64_t n = 0; n < count; ++n) {
    w.go_on();
    if (parts)
      for (unsigned set = 0; set < 16; ++set) rows.emplace_back(n, set);
    else
      for (const Sample::Placed& p : render(o.task, o.master, 2, n, o.size, 1).placed)
        rows.emplace_back(n, static_cast<unsigned>(p.number));
  }
  begin(files, o, static_cast<std::int64_t>(rows.size()));
  files.text("index.csv", "row,n,kind,argument\n");
  for (std::size_t r = 0; r < rows.size(); ++r) {
    w.go_on();
    const auto [n, argument] = rows[r];
    Interventions change;
    if (parts)
      change.remove = argument;
    else
      change.remove_distractors = 1u << argument;
    append(files, o, render(o.task, o.master, 2, n, o.size, o.samples, change), 2, n);
    files.text("index.csv",
               std::to_string(r) + "," + std::to_string(n) + "," + kind + "," + std::to_string(argument) + "\n");
  }
  files.commit();
  w.sets.push_back({{"task", w.task}, {"split", std::string("interventions/") + kind}, {"images", rows.size()}});
}

}  // namespace

std::size_t write_partshapes(const std::string& spec, const std::string& folder, const std::function<bool()>& stop) {
  static_assert(std::endian::native == std::endian::little, "files are written as numbers are stored in memory");
  const PartShapesOptions o = parse_partshapes(spec);
  Writing w{o, folder, stop, o.detection ? "det" : std::string(task_name(o.task.task))};
  constexpr const char* names[] = {"train", "validation", "test"};
  const std::int64_t counts[] = {o.train, o.validation, o.test};
  for (int split = 0; split < 3; ++split)
    if (counts[split] > 0) write_split(w, split, names[split], counts[split]);
  if (o.interventions > 0) {
    if (o.detection || !all_critters(o.task.task))
      throw Error("partshapes: interventions are written for tasks of critters alone", Error::usage);
    for (const bool parts : {true, false}) write_interventions(w, parts);
  }
  const std::size_t written = w.digests.size();
  const nlohmann::ordered_json manifest{{"schema", "partshapes/1"}, {"generator_version", 1}, {"master", o.master},
                                        {"size", o.size},           {"samples", o.samples},   {"sets", w.sets},
                                        {"files", w.digests}};
  std::map<std::string, std::string> ignored;
  Files files(folder, "", ignored);
  files.text("manifest.json", manifest.dump(2) + "\n");
  files.commit();
  return written;
}

}  // namespace vitrine::data
