#include "layers/linear.h"
#include "tests/support/files.h"
#include "tests/support/methods.h"

using namespace vitrine;

TEST_SUITE_BEGIN("interp");

TEST_CASE("evaluation: accuracy, its interval, and what is taken for what, of predictions that are known") {
  // The scores are the image's three numbers.
  Model m("identity", {1, 3, 1, 1}, [](GraphBuilder& g, Id x) { return linear(g, x, 3, "fc"); });
  test::set_parameter(m, "fc.weight", {1, 0, 0, 0, 1, 0, 0, 0, 1});
  const test::DataInMemory data({{5, 3, 1, 1}, {1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1}}, {0, 0, 0, 1, 2}, 3);

  const Result r = test::study_of("evaluation", m, data);
  CHECK(r.number("accuracy").value == doctest::Approx(0.8));
  CHECK(r.number("accuracy").n == 5);
  // Wilson's interval of 4 in 5.
  CHECK(r.number("accuracy").low == doctest::Approx(0.3755).epsilon(1e-3));
  CHECK(r.number("accuracy").high == doctest::Approx(0.9638).epsilon(1e-3));
  const auto& confusions = r.table("confusions").rows;
  REQUIRE(confusions.size() == 1);
  CHECK(confusions[0] == std::vector<Cell>{"0", "1", 1});
  CHECK(r.table("classes").rows[0][2] == Cell(2));
  CHECK(r.study == "evaluation");
  CHECK(r.cost.forward == 5);

  // Of the first two images alone.
  CHECK(test::study_of("evaluation", m, data, {}, {}, 2).number("accuracy").value == 1);
  test::refused([&] { test::study_of("evaluation", m, data, {}, {{"speed", "2"}}); }, "no setting 'speed'");
}

TEST_SUITE_END();
