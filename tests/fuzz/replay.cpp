// Runs a fuzz target over the files of a folder, and over each of them cut and damaged in places: the corpus as a test.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t*, std::size_t);

int main(int argc, char** argv) {
  int runs = 0;
  for (int a = 1; a < argc; ++a)
    for (const auto& entry : std::filesystem::directory_iterator(argv[a])) {
      std::ifstream f(entry.path(), std::ios::binary);
      std::vector<char> bytes{std::istreambuf_iterator<char>(f), {}};
      const auto run = [&](const std::vector<char>& b) {
        // A buffer of exactly this size, so that the sanitizer sees a read past the end.
        const std::vector<std::uint8_t> copy(b.begin(), b.end());
        LLVMFuzzerTestOneInput(copy.data(), copy.size());
        ++runs;
      };
      run(bytes);
      const std::size_t step = bytes.size() / 200 + 1;
      for (std::size_t n = 0; n < bytes.size(); n += step) {
        run({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)});
        std::vector<char> damaged = bytes;
        damaged[n] = static_cast<char>(damaged[n] ^ (1 << (n % 8)));
        run(damaged);
      }
    }
  std::printf("%d inputs\n", runs);
  return runs > 0 ? 0 : 1;
}
