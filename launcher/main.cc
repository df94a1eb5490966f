#include <glog/logging.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "launcher/commands/arguments.h"
#include "launcher/commands/commands.h"
#include "launcher/config/config_text.h"
#include "launcher/process/standard_output.h"
#include "runtime/error.h"

namespace {

constexpr int kUserMistake = 1, kBlocked = 75;

// CONFIG [path=value ...], the arguments of several subcommands.
struct ConfigArguments {
  std::string path;
  std::vector<std::string> overrides;

  void add_to(CLI::App& command) {
    command.add_option("CONFIG", path, "Configuration, text format")
        ->required();
    command.add_option("path=value", overrides,
                       "Fields that differ, such as model.num_layers=4");
  }
};

void add_train(CLI::App& app, int* argc, char*** argv, int& status) {
  CLI::App& train = *app.add_subcommand("train", "Train a model");
  const auto arguments = std::make_shared<ConfigArguments>();
  arguments->add_to(train);
  train.footer(
      "Example: a sequence shared by two ranks\n"
      "  mpirun -n 2 timepipe train configs/demo.textproto parallel.time=2 \\\n"
      "    data.train=book.txt optimizer.steps=100\n"
      "SIGINT (Ctrl-C), SIGTERM or SIGUSR1 to any rank: a run with run_dir\n"
      "saves at the end of the step and leaves, at a second signal at once;\n"
      "the same command goes on from there. Without run_dir it leaves at\n"
      "once. Exit status: 0 when all steps are done, 128 + signal (130, 143,\n"
      "138) when one ended the run before, so that it doesn't look finished,\n"
      "1 for a mistake, 75 when a rank is gone.");
  train.callback([=, &status] {
    status =
        timepipe::cmd_train(argc, argv, arguments->path, arguments->overrides);
  });
}

constexpr const char* kCheckpointHelp =
    "A checkpoint's folder, a run folder (its newest valid checkpoint) or a "
    "Hugging Face folder";

constexpr const char* kTokenizerHelp =
    "bytes, or the path of a sentencepiece model. Default: data.tokenizer of "
    "the model's configuration, tokenizer.model of a Hugging Face folder";

void add_eval(CLI::App& app, int& status) {
  CLI::App& eval = *app.add_subcommand(
      "eval", "Loss, perplexity and bits per byte of a file, read as one text");
  const auto o = std::make_shared<timepipe::EvalOptions>();
  eval.add_option("CHECKPOINT", o->checkpoint, kCheckpointHelp)->required();
  eval.add_option("--data", o->data,
                  "File of tokens (.safetensors, .bin, .npy), or a text")
      ->required();
  eval.add_option("--context", o->context,
                  "Tokens of a window, each window from the learned start; 0: "
                  "all, the state carried. Default: data.sequence_length")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  eval.add_flag(
      "--held-out", o->held_out,
      "Only what training never read: the last data.held_out of --data");
  eval.add_option("--max-tokens", o->max_tokens, "Predictions, at most")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  eval.add_flag("--by-position", o->by_position,
                "Loss by the number of tokens read before, too");
  eval.add_option("--tokenizer", o->tokenizer, kTokenizerHelp);
  eval.add_option("--json", o->json, "Write the result to this file, too");
  eval.footer(
      "JSON keys: checkpoint, step, data, held_out, first_token, context,\n"
      "  tokens (predictions), loss (nats), perplexity, bits_per_token,\n"
      "  bits_per_byte (null: not known), seconds, tokens_per_second,\n"
      "  by_position: first and last number of tokens read before, tokens, "
      "loss\n"
      "Example:\n"
      "  timepipe eval runs/bible --data bible.txt --held-out --by-position");
  eval.callback([=, &status] { status = timepipe::cmd_eval(*o); });
}

void add_score(CLI::App& app, int& status) {
  CLI::App& score =
      *app.add_subcommand("score", "Logits and losses of given token ids");
  const auto o = std::make_shared<timepipe::ScoreOptions>();
  score.add_option("CHECKPOINT", o->checkpoint, kCheckpointHelp)->required();
  score
      .add_option("--tokens", o->tokens,
                  "Ids [T] or [B,T]: .npy or .safetensors; or a file of tokens")
      ->required();
  score.add_option("--tensor", o->tensor,
                   "Tensor of a .safetensors file. Default: input_ids, or else "
                   "tokens, as `timepipe data prepare` writes");
  score
      .add_option("--logits", o->logits,
                  "File to write: logits [T,vocab] or [B,T,vocab]; loss [T-1] "
                  "or [B,T-1], f64, of tokens 1 to T-1")
      ->required();
  score
      .add_option("--dtype", o->dtype, "Type that computes, and of the logits")
      ->check(CLI::IsMember({"f32", "f64"}))
      ->capture_default_str();
  score.footer(
      "Example:\n"
      "  timepipe score runs/bible --tokens book.txt --logits out.safetensors");
  score.callback([=, &status] { status = timepipe::cmd_score(*o); });
}

void add_sampling(CLI::App& generate, timepipe::SamplerOptions& o) {
  CLI::Option* temperature =
      generate
          .add_option("--temperature", o.temperature,
                      "Divides the logits; 0: always the most probable")
          ->capture_default_str();
  CLI::Option* top_k = generate.add_option(
      "--top-k", o.top_k, "Only the K most probable tokens; 0: all");
  CLI::Option* top_p = generate.add_option(
      "--top-p", o.top_p,
      "Only the most probable tokens whose sum first reaches P");
  CLI::Option* seed = generate.add_option(
      "--seed", o.seed, "Of the random numbers, one for each position");
  seed->check([](const std::string& text) {  // else -1 would be 2^64 - 1
    const bool digits = text.find_first_not_of("0123456789") == text.npos;
    return digits && text.size() < 20 ? "" : text + ", expected 0 to 10^19 - 1";
  });
  seed->capture_default_str();
  generate
      .add_flag_callback(
          "--greedy", [&o] { o.temperature = 0; },
          "Always the most probable token")
      ->excludes(temperature, top_k, top_p, seed);
}

void add_generate(CLI::App& app, int& status) {
  CLI::App& generate = *app.add_subcommand(
      "generate", "Write text that goes on from a prompt, to standard output");
  const auto o = std::make_shared<timepipe::GenerateOptions>();
  generate.add_option("CHECKPOINT", o->checkpoint, kCheckpointHelp)->required();
  CLI::Option* prompt =
      generate.add_option("--prompt", o->prompt, "Text to go on from");
  CLI::Option* file = generate.add_option(
      "--prompt-file", o->prompt_file,
      "File with it, of any length: a text, or tokens (.safetensors, .bin, "
      ".npy)");
  file->excludes(prompt);
  generate.add_option("--max-new-tokens", o->max_new_tokens, "Tokens to write")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->capture_default_str();
  add_sampling(generate, o->sampler);
  generate.add_option("--tokenizer", o->tokenizer, kTokenizerHelp);
  generate.add_flag("--bos", o->bos,
                    "Put the id for a start before the prompt");
  generate.add_option("--state-in", o->state_in,
                      "Hidden state to go on from, instead of the learned one");
  generate.add_option("--state-out", o->state_out,
                      "Save the hidden state after all that was read and "
                      "written to this file");
  generate.add_flag("--ignore-eos", o->ignore_eos,
                    "Go on after the token that ends a text");
  generate.add_flag("--ids", o->ids, "Write token ids, not text");
  generate.footer(
      "Examples:\n"
      "  timepipe generate runs/bible --prompt 'In the beginning' --top-p 0.9\n"
      "  timepipe generate runs/bible --prompt-file bible.txt "
      "--max-new-tokens 0 \\\n"
      "    --state-out bible.state\n"
      "  timepipe generate runs/bible --state-in bible.state --prompt 'And "
      "he'");
  generate.callback([=, &status] { status = timepipe::cmd_generate(*o); });
}

void add_exchange(CLI::App& checkpoint, int& status) {
  struct Arguments {
    std::string from, to, dtype = "f32";
    int64_t shard_bytes = 5'000'000'000;
  };
  const auto a = std::make_shared<Arguments>();
  CLI::App& read = *checkpoint.add_subcommand(
      "import", "Make a run folder of a Hugging Face folder");
  read.add_option("HF_FOLDER", a->from, "config.json and safetensors")
      ->required();
  read.add_option("RUN_DIR", a->to, "Folder to make")->required();
  read.footer("Example:\n  timepipe checkpoint import ttt-1.3b runs/ttt");
  read.callback([=, &status] {
    status = timepipe::cmd_checkpoint_import(a->from, a->to);
  });
  CLI::App& write = *checkpoint.add_subcommand(
      "export", "Make a Hugging Face folder of a checkpoint");
  write.add_option("CHECKPOINT", a->from, kCheckpointHelp)->required();
  write.add_option("HF_FOLDER", a->to, "Folder to make")->required();
  write.add_option("--dtype", a->dtype, "Type of the weights there")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  write.add_option("--shard-bytes", a->shard_bytes, "Size of a file, at most")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 50))
      ->capture_default_str();
  write.footer("Example:\n  timepipe checkpoint export runs/bible bible-hf");
  write.callback([=, &status] {
    status = timepipe::cmd_checkpoint_export(a->from, a->to, a->dtype,
                                             a->shard_bytes);
  });
  CLI::App& verify = *checkpoint.add_subcommand(
      "verify-export", "Check the logits of an exported folder");
  verify.add_option("HF_FOLDER", a->from, "What export made")->required();
  verify.footer("Example:\n  timepipe checkpoint verify-export bible-hf");
  verify.callback([=, &status] {
    status = timepipe::cmd_checkpoint_verify_export(a->from);
  });
}

void add_checkpoint(CLI::App& app, int& status) {
  CLI::App& checkpoint = *app.add_subcommand(
      "checkpoint", "List, check, compare, import and export checkpoints");
  checkpoint.require_subcommand(1);
  checkpoint.footer("Example:\n  timepipe checkpoint diff runs/a runs/b");
  struct Arguments {
    std::string first, second;
  };
  const auto a = std::make_shared<Arguments>();
  CLI::App& list = *checkpoint.add_subcommand(
      "list", "Check and print the checkpoints of a run folder");
  list.add_option("RUN_DIR", a->first, "Run folder")->required();
  list.footer("Example:\n  timepipe checkpoint list runs/a");
  list.callback(
      [=, &status] { status = timepipe::cmd_checkpoint_list(a->first); });
  CLI::App& verify = *checkpoint.add_subcommand(
      "verify", "Check every checksum of a checkpoint");
  verify
      .add_option("CHECKPOINT", a->first,
                  "Its folder, or a run folder: its newest")
      ->required();
  verify.footer(
      "Example:\n  timepipe checkpoint verify runs/a/checkpoints/step-000100");
  verify.callback(
      [=, &status] { status = timepipe::cmd_checkpoint_verify(a->first); });
  CLI::App& diff = *checkpoint.add_subcommand(
      "diff", "Name the first difference of two checkpoints, if any");
  diff.add_option("A", a->first, "Checkpoint or run folder")->required();
  diff.add_option("B", a->second, "Checkpoint or run folder")->required();
  diff.footer("Example:\n  timepipe checkpoint diff runs/a runs/b");
  diff.callback([=, &status] {
    status = timepipe::cmd_checkpoint_diff(a->first, a->second);
  });
  add_exchange(checkpoint, status);
}

void add_config(CLI::App& app) {
  CLI::App& config = *app.add_subcommand(
      "config", "Print the resolved and validated configuration");
  const auto arguments = std::make_shared<ConfigArguments>();
  arguments->add_to(config);
  config.footer(
      "Example:\n  timepipe config configs/demo.textproto model.layer=mlp");
  config.callback([=] {
    std::cout << timepipe::to_text(
        timepipe::load_config(arguments->path, arguments->overrides));
  });
}

int run(int* argc, char*** argv) {
  CLI::App app(
      "Trains TTT-layer language models on long sequences, pipelined "
      "through time over ranks.",
      "timepipe");
  app.require_subcommand(0, 1);
  app.footer(
      "Example:\n  timepipe train configs/demo.textproto data.train=book.txt");
  int status = 0;
  add_train(app, argc, argv, status);
  add_eval(app, status);
  add_score(app, status);
  add_generate(app, status);
  timepipe::add_data(app, status);
  add_checkpoint(app, status);
  add_config(app);

  try {
    app.parse(*argc, *argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    std::string command = "timepipe";
    for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
      at = at->get_subcommands().front();
      command += " " + at->get_name();
    }
    std::cerr << "timepipe: " << error.what() << " (see " << command
              << " --help)\n";
    return kUserMistake;
  }
  if (!app.get_subcommands().empty()) {
    // A log that is full ends no training.
    if (!app.got_subcommand("train")) timepipe::write_output("");
    return status;
  }
  std::cerr << app.help();
  return kUserMistake;
}

}  // namespace

int main(int argc, char** argv) {
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(argv[0]);
  // A file beyond the limit of its size is an error of write(), told as such.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return run(&argc, &argv);
  } catch (const timepipe::Blocked& error) {
    std::cerr << "timepipe: " << error.what() << "\n";
    return kBlocked;
  } catch (const timepipe::OutputClosed&) {
    return kUserMistake;
  } catch (const std::exception& error) {
    std::cerr << "timepipe: " << error.what() << "\n";
    return kUserMistake;
  }
}
