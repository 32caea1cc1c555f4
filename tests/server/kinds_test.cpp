#include "server/jobs/kinds.h"

#include <fstream>
#include <set>
#include <sstream>

#include <catch2/catch.hpp>

#include "server/jobs/plan.h"
#include "tests/support/paths.h"

using namespace reeve;
using namespace reeve::server;
using Seen = agent::v1::StepSeen;

namespace {

std::string word(Decision decision) {
  switch (decision) {
    case Decision::Continue: return "continue";
    case Decision::RunAgain: return "run again";
    case Decision::Park: return "park";
    case Decision::Wait: return "wait";
  }
  return "?";
}

std::string guide() {
  std::ifstream file(test::source_dir() / "docs/guide/jobs.md");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("the guide prints the decision table as it is", "[jobs]") {
  const std::string text = guide();
  for (const auto& row : kJobKinds) {
    const auto forward = [&](Seen::Outcome outcome) {
      return word(decide(row, Direction::Forward, outcome));
    };
    const std::string line =
        "| " + std::string(row.kind) + " | " + forward(Seen::OUTCOME_DONE) + " | " +
        forward(Seen::OUTCOME_NOT_DONE) + " | " + forward(Seen::OUTCOME_UNKNOWABLE) + " | " +
        forward(Seen::OUTCOME_IN_PROGRESS) + " | " +
        word(decide(row, Direction::Backward, Seen::OUTCOME_UNKNOWABLE)) + " |";
    INFO(line);
    CHECK(text.find(line) != std::string::npos);
  }
}

TEST_CASE("every cell of the decision table is one that can end", "[jobs]") {
  for (const auto& row : kJobKinds) {
    for (const auto direction : {Direction::Forward, Direction::Backward}) {
      INFO(row.kind);
      CHECK(decide(row, direction, Seen::OUTCOME_DONE) == Decision::Continue);
      CHECK(decide(row, direction, Seen::OUTCOME_NOT_DONE) == Decision::RunAgain);
      CHECK(decide(row, direction, Seen::OUTCOME_IN_PROGRESS) == Decision::Wait);
      const auto unknowable = decide(row, direction, Seen::OUTCOME_UNKNOWABLE);
      CHECK((unknowable == Decision::RunAgain || unknowable == Decision::Park));
    }
  }
}

TEST_CASE("a reboot or start that cannot be told is never repeated by itself", "[jobs]") {
  for (const char* kind : {"RebootVm", "StartVm", "CreateVm"})
    CHECK(decide(kind_row(kind), Direction::Forward, Seen::OUTCOME_UNKNOWABLE) == Decision::Park);
}

TEST_CASE("a kind nobody knows asks a person rather than act", "[jobs]") {
  CHECK(decide(kind_row("Strange"), Direction::Forward, Seen::OUTCOME_NOT_DONE) == Decision::Park);
  CHECK(decide(kind_row("Strange"), Direction::Backward, Seen::OUTCOME_UNKNOWABLE) ==
        Decision::Park);
}
