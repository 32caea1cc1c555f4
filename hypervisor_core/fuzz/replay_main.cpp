// hypervisor_core/fuzz/replay_main.cpp - a fuzz target without libFuzzer: replays a corpus, then
// mutates it.
//
//   fuzz_NAME FOLDER SECONDS
//
// The mutations are simple and their seed is printed; the coverage-guided runs are the fuzz
// preset's.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using namespace reeve;

void run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

std::string mutate(const std::vector<std::string>& corpus, SeededRandom& random) {
  std::string input = corpus[random.below(corpus.size())];
  for (auto edits = 1 + random.below(8); edits > 0; --edits) {
    const auto at = random.below(input.size() + 1);
    switch (random.below(5)) {
      case 0:
        if (at < input.size()) input[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        if (at < input.size()) input[at] = static_cast<char>(input[at] ^ 1 << random.below(8));
        break;
      case 2: input.insert(at, 1 + random.below(8), static_cast<char>(random.below(256))); break;
      case 3: input.erase(at, 1 + random.below(8)); break;
      default: {
        const auto& other = corpus[random.below(corpus.size())];
        const auto from = random.below(other.size() + 1);
        input.insert(at, other, from, random.below(64));
      }
    }
  }
  if (input.size() > 1u << 20) input.resize(1u << 20);
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: %s FOLDER SECONDS\n", argv[0]), 2;
  std::vector<std::string> corpus{std::string(), std::string(256, '\0')};
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    auto content = read_file(entry.path());
    if (!content.ok()) return std::fprintf(stderr, "cannot read a corpus file\n"), 2;
    corpus.push_back(std::move(content).value());
  }
  for (const auto& input : corpus) run(input);

  const auto seed = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch() /
                                               std::chrono::milliseconds(1));
  std::printf("%zu inputs replayed, now mutating with seed %llu\n", corpus.size(),
              static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  SeededRandom random(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[2]));
  std::uint64_t runs = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) run(mutate(corpus, random));
  std::printf("%llu mutations\n", static_cast<unsigned long long>(runs));
  return 0;
}
