// CIFAR-10's binary version: records of a label byte and 3072 pixel bytes, a plane a colour [Krizhevsky 2009].
#include <filesystem>

#include "core/host/io/file.h"
#include "models/data/sources.h"

namespace vitrine::data {

std::unique_ptr<Dataset> open_cifar10(const std::string& folder, Part part) {
  constexpr std::size_t record = 1 + 3 * 32 * 32;
  std::vector<std::string> names = {"test_batch.bin"};
  if (part == Part::train)
    names = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"};
  ByteImages d;
  d.shape = {1, 3, 32, 32};
  d.classes = 10;
  d.names = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  d.suggested = {{0.4914f, 0.4822f, 0.4465f}, {0.2470f, 0.2435f, 0.2616f}};
  std::error_code ignored;
  bool found = false;
  for (const std::string& name : names)
    for (const char* ending : {"", ".gz"}) {
      const std::string path = folder + "/" + name + ending;
      if (!std::filesystem::exists(path, ignored)) continue;
      found = true;
      const std::vector<std::byte> raw = io::read_maybe_gzip(path);
      if (raw.empty() || raw.size() % record != 0)
        throw Error(path + ": has " + std::to_string(raw.size()) + " bytes, expected a multiple of " +
                    std::to_string(record));
      for (std::size_t at = 0; at < raw.size(); at += record) {
        d.labels.push_back(std::to_integer<int>(raw[at]));
        if (d.labels.back() > 9)
          throw Error(path + ": record " + std::to_string(at / record) + " has label " +
                      std::to_string(d.labels.back()) + ", expected 0 to 9");
        for (std::size_t k = 1; k < record; ++k) d.pixels.push_back(std::to_integer<std::uint8_t>(raw[at + k]));
      }
      break;
    }
  if (!found) throw Error(folder + ": has neither " + names[0] + " nor " + names[0] + ".gz");
  return make_byte_dataset(std::move(d));
}

}  // namespace vitrine::data
