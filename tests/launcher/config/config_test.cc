#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <functional>

#include "launcher/config/config_text.h"

namespace timepipe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kSmallest[] = R"(
model { hidden_size: 64 intermediate_size: 172 num_layers: 2 num_heads: 4 }
data { sequence_length: 1000 }
optimizer { steps: 10 lr: 3e-3 }
train { chunk_tokens: 256 }
)";

// A file that is gone with the test.
class Config : public ::testing::Test {
 protected:
  ~Config() override { std::remove(path_.c_str()); }

  RunConfig load(const std::string& text,
                 const std::vector<std::string>& overrides = {}) {
    std::ofstream(path_) << text;
    return load_config(path_, overrides);
  }

  // The text of the InvalidArgument that loading throws.
  std::string mistake(const std::string& text,
                      const std::vector<std::string>& overrides = {}) {
    try {
      load(text, overrides);
    } catch (const InvalidArgument& error) {
      return error.what();
    }
    return "accepted";
  }

  std::string mistake_in_override(const std::string& override) {
    return mistake(kSmallest, {override});
  }

  const std::string path_ =
      ::testing::TempDir() + "timepipe_" +
      ::testing::UnitTest::GetInstance()->current_test_info()->name() +
      ".textproto";
};

TEST_F(Config, SchemaAndStructHaveTheSameDefaults) {
  RunConfig plain;
  plain.model.hidden_size = 64;
  plain.model.intermediate_size = 172;
  plain.model.num_layers = 2;
  plain.model.num_heads = 4;
  plain.data.sequence_length = 1000;
  plain.optimizer.steps = 10;
  plain.optimizer.lr = 3e-3;
  plain.train.chunk_tokens = 256;
  EXPECT_EQ(to_text(load(kSmallest)), to_text(plain));
}

TEST_F(Config, OverridesSetFieldsOfEveryType) {
  const RunConfig config =
      load(kSmallest,
           {"model.num_layers=4", "parallel.time=2",
            "data.sequence_length=1048576", "model.layer=mlp",
            "data.train=/books/a=b c.txt", "data.seed=18446744073709551615",
            "optimizer.lr=1e-3", "model.use_gate=true", "train.dtype=f64",
            "model.conv_init=torch_uniform", "device=cpu", "parallel.time=3"});
  EXPECT_EQ(config.model.num_layers, 4);
  EXPECT_EQ(config.parallel.time, 3);  // the last one counts
  EXPECT_EQ(config.data.sequence_length, 1048576);
  EXPECT_EQ(config.num_chunks(), 4096);
  EXPECT_EQ(config.model.inner, InnerModel::kMlp);
  EXPECT_EQ(config.data.train, (std::vector<std::string>{"/books/a=b c.txt"}));
  EXPECT_EQ(config.data.seed, UINT64_MAX);
  EXPECT_EQ(config.optimizer.lr, 1e-3);
  EXPECT_TRUE(config.model.use_gate);
  EXPECT_EQ(config.train.dtype, DType::kF64);
  EXPECT_EQ(config.model.conv_init, ConvInit::kTorchUniform);
}

TEST_F(Config, TextOfAConfigurationLoadsAsTheSame) {
  const RunConfig config =
      load(kSmallest,
           {"model.layer=mlp", "model.ttt_base_lr=0.1", "model.share_qk=true",
            "optimizer.inner_lr_warmup_steps=3", "optimizer.inner_lr_init=0.01",
            "optimizer.clip_norm=0", "model.rms_norm_eps=1.2345678901234567e-6",
            "train.hot_rounds=0", "data.train=a\"b"});
  const std::string text = to_text(config);
  EXPECT_EQ(to_text(load(text)), text);
  EXPECT_EQ(load(text).model.rms_norm_eps, 1.2345678901234567e-6);
  EXPECT_THAT(text, HasSubstr("layer: mlp"));
}

TEST_F(Config, ListsAreGivenOnceWithCommas) {
  using Files = std::vector<std::string>;
  EXPECT_EQ(load(kSmallest, {"data.train=a,b\\,c,d\\e"}).data.train,
            (Files{"a", "b,c", "d\\e"}));
  EXPECT_EQ(load(kSmallest, {"data.train="}).data.train, Files());
  EXPECT_EQ(load(kSmallest, {"data.train=a", "data.train=a"}).data.train,
            Files{"a"});
  EXPECT_EQ(mistake(kSmallest, {"data.train=a", "data.train=b"}),
            "data.train: given twice, expected once, with commas: "
            "data.train=A,B");
  EXPECT_EQ(mistake(kSmallest, {"data.train=a,,b"}),
            "data.train: a,,b, expected no empty item between commas");
  EXPECT_EQ(mistake(kSmallest, {"data.train=a,"}),
            "data.train: a,, expected no empty item between commas");
  EXPECT_EQ(load(kSmallest, {"optimizer.steps=20", "optimizer.steps=30"})
                .optimizer.steps,
            30);
}

TEST_F(Config, ErrorsInTheFileNamePlaceAndField) {
  EXPECT_THAT(mistake("model {\n  layers: 4\n}"),
              AllOf(HasSubstr(path_ + ":2:"), HasSubstr("\"layers\"")));
  EXPECT_THAT(mistake("model { num_layers: four }"),
              AllOf(HasSubstr(path_ + ":1:"), HasSubstr("four")));
  EXPECT_THAT(mistake("model { layer: conv }"), HasSubstr("conv"));
  EXPECT_THAT(mistake("model {\n"), HasSubstr(path_ + ":2:1: "));
  EXPECT_THAT(mistake("device: \"cpu\" device: \"cpu\""), HasSubstr("device"));
  EXPECT_THAT(mistake(""), HasSubstr("model.hidden_size: 0, expected 1 to"));
}

TEST_F(Config, FileThatCannotBeReadIsNamed) {
  for (const std::string path : {"/no/such.textproto", "/tmp"}) {
    try {
      load_config(path);
      ADD_FAILURE() << path;
    } catch (const IoError& error) {
      EXPECT_THAT(error.what(), HasSubstr(path));
    }
  }
}

TEST_F(Config, WrongOverridesNamePathValueAndWhatIsAllowed) {
  EXPECT_THAT(mistake_in_override("model.layers=4"),
              AllOf(HasSubstr("model.layers: no field layers"),
                    HasSubstr("num_layers")));
  EXPECT_THAT(mistake_in_override("models.num_layers=4"),
              AllOf(HasSubstr("no field models"), HasSubstr("parallel")));
  EXPECT_THAT(mistake_in_override("model=4"), HasSubstr("model.layer"));
  EXPECT_THAT(mistake_in_override("device.x=4"),
              HasSubstr("device has no fields"));
  EXPECT_THAT(mistake_in_override("model.num_layers"),
              HasSubstr("expected path=value"));
  EXPECT_THAT(mistake_in_override("=4"), HasSubstr("expected model, data"));
  EXPECT_EQ(mistake_in_override("model.num_layers=4.5"),
            "model.num_layers: 4.5, expected an integer");
  EXPECT_EQ(mistake_in_override("model.num_layers=9999999999999999999"),
            "model.num_layers: 9999999999999999999, expected an integer from "
            "-9223372036854775808 to 9223372036854775807");
  EXPECT_EQ(mistake_in_override("model.num_layers="),
            "model.num_layers: , expected an integer");
  EXPECT_EQ(mistake_in_override("data.seed=-1"),
            "data.seed: -1, expected an integer of at least 0");
  EXPECT_EQ(mistake_in_override("data.seed=18446744073709551616"),
            "data.seed: 18446744073709551616, expected an integer from 0 to "
            "18446744073709551615");
  EXPECT_EQ(mistake_in_override("data.seed=18446744073709551616x"),
            "data.seed: 18446744073709551616x, expected an integer of at least "
            "0");
  for (const std::string number : {"1e400", "-1e400", "1e-400"}) {
    EXPECT_EQ(mistake_in_override("optimizer.lr=" + number),
              "optimizer.lr: " + number +
                  ", expected a number that is 0 or in size from 4.940656e-324 "
                  "to 1.797693e+308");
  }
  EXPECT_EQ(mistake_in_override("optimizer.lr=fast"),
            "optimizer.lr: fast, expected a number");
  EXPECT_EQ(mistake_in_override("model.use_gate=1"),
            "model.use_gate: 1, expected true or false");
  EXPECT_EQ(mistake_in_override("model.layer=conv"),
            "model.layer: conv, expected linear or mlp");
}

TEST_F(Config, ValuesOutOfRangeAreRefused) {
  // Each refused alone; the message starts with the path and the value.
  for (const char* override : {"model.vocab_size=0",
                               "model.hidden_size=0",
                               "model.hidden_size=100",
                               "model.hidden_size=-64",
                               "model.intermediate_size=0",
                               "model.num_layers=0",
                               "model.num_layers=4611686018427387904",
                               "model.num_heads=0",
                               "model.mini_batch_size=0",
                               "model.conv_kernel=0",
                               "model.ttt_base_lr=0",
                               "model.rope_theta=-1",
                               "model.rms_norm_eps=0",
                               "model.initializer_range=nan",
                               "data.sequence_length=1",
                               "data.batch=0",
                               "optimizer.steps=0",
                               "optimizer.lr=0",
                               "optimizer.lr=inf",
                               "optimizer.lr=nan",
                               "optimizer.init_lr=-1",
                               "optimizer.init_lr=0.1",
                               "optimizer.end_lr=-1",
                               "optimizer.end_lr=0.5",
                               "optimizer.max_skipped_steps=0",
                               "data.held_out=1",
                               "data.train_weights=x",
                               "data.start_state=a.safetensors",
                               "data.train_weights=1",
                               "data.bos_id=256",
                               "data.tokenizer=",
                               "checkpoint.every=3",
                               "init_optimizer=true",
                               "checkpoint.keep_last=-1",
                               "checkpoint.keep_best=1",
                               "checkpoint.milestone_every=5",
                               "eval.every=1",
                               "eval.sequences=0",
                               "optimizer.warmup_steps=10",
                               "optimizer.warmup_steps=-1",
                               "optimizer.beta1=1",
                               "optimizer.beta2=-0.5",
                               "optimizer.eps=0",
                               "optimizer.weight_decay=-1",
                               "optimizer.clip_norm=-1",
                               "optimizer.inner_lr_init=0.1",
                               "optimizer.inner_lr_warmup_steps=-1",
                               "train.chunk_tokens=0",
                               "train.chunk_tokens=250",
                               "train.hot_rounds=-1",
                               "train.detach_every_chunks=-1",
                               "parallel.time=0",
                               "parallel.time=5",
                               "parallel.data=2",
                               "parallel.timeout_seconds=0",
                               "device=gpu",
                               "device=cuda:-1"}) {
    const std::string text(override);
    const std::string path = text.substr(0, text.find('='));
    EXPECT_THAT(
        mistake_in_override(text),
        AllOf(::testing::StartsWith(path + ": "), HasSubstr(", expected ")))
        << override;
  }
  EXPECT_THAT(mistake_in_override("optimizer.inner_lr_warmup_steps=2"),
              HasSubstr("optimizer.inner_lr_init: 0, expected more than 0"));
}

TEST_F(Config, SchedulesTakeWhatTheyRead) {
  const std::string decays = "optimizer.schedule=warmup_stable_decay";
  const std::string warms_up = "optimizer.warmup_steps=4";  // of 10
  const RunConfig config =
      load(kSmallest, {decays, warms_up, "optimizer.decay_steps=6"});
  EXPECT_EQ(config.optimizer.schedule, RateSchedule::kWarmupStableDecay);
  EXPECT_EQ(config.optimizer.decay_steps, 6);
  for (const char* steps : {"7", "0", "-1"}) {
    EXPECT_EQ(
        mistake(kSmallest, {decays, warms_up,
                            std::string("optimizer.decay_steps=") + steps}),
        std::string("optimizer.decay_steps: ") + steps +
            ", expected 1 to optimizer.steps - optimizer.warmup_steps = "
            "6 with optimizer.schedule = warmup_stable_decay");
  }
  for (const char* other : {"cosine", "linear", "constant"}) {
    const std::string schedule = std::string("optimizer.schedule=") + other;
    EXPECT_EQ(mistake_in_override(schedule), "accepted");
    EXPECT_EQ(mistake(kSmallest, {schedule, "optimizer.decay_steps=2"}),
              "optimizer.decay_steps: 2, expected 0 without "
              "optimizer.schedule = warmup_stable_decay");
  }
  EXPECT_EQ(mistake_in_override("optimizer.schedule=step"),
            "optimizer.schedule: step, expected cosine or linear or constant "
            "or warmup_stable_decay");
  const std::string stays = "optimizer.schedule=constant";
  EXPECT_EQ(mistake(kSmallest, {stays, "optimizer.end_lr=1e-4"}),
            "optimizer.end_lr: 0.0001, expected optimizer.lr = 0.00300000 or "
            "unset with optimizer.schedule = constant");
  EXPECT_EQ(
      mistake(kSmallest, {stays, "optimizer.lr=2e-4", "optimizer.end_lr=2e-4"}),
      "accepted");
  EXPECT_EQ(mistake(kSmallest, {stays, "optimizer.lr=1e-9"}), "accepted");
}

// A configuration from before there were schedules is one with a cosine.
TEST_F(Config, RunsGoOnWithTheSameScheduleAlone) {
  const RunConfig before = load(kSmallest);
  EXPECT_EQ(
      first_difference(load(kSmallest, {"optimizer.schedule=cosine"}), before),
      "");
  EXPECT_EQ(
      first_difference(load(kSmallest, {"optimizer.schedule=linear"}), before),
      "optimizer.schedule: {optimizer { schedule: linear }}, expected "
      "{optimizer { schedule: cosine }}");
  const std::string decays = "optimizer.schedule=warmup_stable_decay";
  EXPECT_THAT(
      first_difference(load(kSmallest, {decays, "optimizer.decay_steps=3"}),
                       load(kSmallest, {decays, "optimizer.decay_steps=2"})),
      ::testing::StartsWith("optimizer.decay_steps: "));
}

TEST_F(Config, ChunkHoldsTheHaloOfTheConvolutions) {
  const std::vector<std::string> overrides = {
      "model.mini_batch_size=2", "train.chunk_tokens=2", "model.pre_conv=true"};
  EXPECT_EQ(mistake(kSmallest, overrides),
            "train.chunk_tokens: 2, expected at least model.conv_kernel - 1 = "
            "3");
  EXPECT_EQ(load(kSmallest, {overrides[0], overrides[1]}).num_chunks(), 500);
}

TEST_F(Config, CarriedStatesNeedWholeMiniBatchesInOrder) {
  const std::string carry = "data.carry_state=true";
  const std::string whole = "data.sequence_length=1024";
  EXPECT_TRUE(load(kSmallest, {carry, whole}).data.carry_state);
  const auto refused = [&](std::vector<std::string> overrides) {
    overrides.insert(overrides.begin(), {carry, whole});
    return mistake(kSmallest, overrides);
  };
  EXPECT_THAT(refused({"data.sequence_length=1000"}),
              HasSubstr("data.sequence_length: 1000, expected a multiple"));
  EXPECT_THAT(refused({"data.seed=1"}), HasSubstr("data.seed: 1, expected 0"));
  EXPECT_THAT(refused({"data.train=a", "data.train_weights=1"}),
              HasSubstr("data.train_weights: 1 value(s), expected none"));
  EXPECT_THAT(refused({"model.mini_batch_size=2", "model.pre_conv=true"}),
              HasSubstr("model.mini_batch_size: 2, expected at least"));
}

TEST_F(Config, DepthLengthAndBatchHaveNoLimitOfTheirOwn) {
  for (const char* const ranks : {"parallel.time=1", "parallel.time=2"}) {
    for (const std::vector<std::string>& overrides :
         std::vector<std::vector<std::string>>{
             {"model.num_layers=20000"},
             {"data.sequence_length=1099511627776", "train.chunk_tokens=1024"},
             {"data.batch=1048576"},
             {"data.batch=1000", "data.sequence_length=16777216"}}) {
      std::vector<std::string> all = overrides;
      all.emplace_back(ranks);
      EXPECT_EQ(mistake(kSmallest, all), "accepted") << overrides[0] << ranks;
    }
  }
}

TEST_F(Config, LimitsOfListsAndSumsShowBeforeAnyWork) {
  const auto most = [&](const std::string& field, int64_t value,
                        std::vector<std::string> others) {
    others.push_back(field + "=" + std::to_string(value));
    EXPECT_EQ(mistake(kSmallest, others), "accepted");
    others.back() = field + "=" + std::to_string(value + 1);
    EXPECT_THAT(mistake(kSmallest, others), HasSubstr(", expected "));
  };
  most("data.sequence_length", ((int64_t{1} << 31) - 1) * 16,
       {"train.chunk_tokens=16"});
  // Of 4 chunks, each of which tied embeddings count twice.
  most("data.batch", 1 << 12, {"train.dtype=f64"});
  most("data.batch", 1 << 13,
       {"train.dtype=f64", "model.tie_word_embeddings=false"});
}

TEST_F(Config, SmallNumbersAreNotZeroInErrors) {
  EXPECT_EQ(mistake(kSmallest, {"optimizer.lr=1e-9"}),
            "optimizer.end_lr: 1e-05, expected at most optimizer.lr = "
            "1.00000e-09");
}

TEST_F(Config, RanksHaveChunks) {
  // 4 chunks in a sequence.
  EXPECT_EQ(load(kSmallest, {"parallel.time=4"}).parallel.time, 4);
  EXPECT_EQ(load(kSmallest, {"parallel.time=8", "data.batch=2"}).data.batch, 2);
  EXPECT_EQ(mistake(kSmallest,
                    {"parallel.time=8", "parallel.data=2", "data.batch=3"}),
            "parallel.time: 8, expected at most 4, the chunks that a group of "
            "time ranks has in a step");
  EXPECT_EQ(mistake(kSmallest,
                    {"parallel.data=3", "data.batch=5", "data.micro_batch=3"}),
            "parallel.data: 3, expected at most 2, data.batch in micro-batches "
            "of data.micro_batch = 3: data ranks take whole ones");
  EXPECT_EQ(mistake(kSmallest, {"data.batch=5", "data.micro_batch=6"}),
            "data.micro_batch: 6, expected 1 to 5, which is data.batch");
}

}  // namespace
}  // namespace timepipe
