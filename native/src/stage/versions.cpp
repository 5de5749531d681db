#include "stage/versions.h"

#include <string>

#include "resnet_nodes/error.h"
#include "resnet_nodes/runtime.h"

namespace resnet_nodes {
namespace {

std::string parameter_name(const PassPlan& plan, size_t index) {
  return "parameters[" + std::to_string(index) + "] (" + plan.table->parameter_place(static_cast<int64_t>(index)) + ")";
}

// What tells of a change: the memory itself is another after set_data.
std::string change_text(bool moved, int64_t version, int64_t expected) {
  if (moved) return " was given other memory since the forward pass";
  return " was changed in place since the forward pass (version " + std::to_string(version) + ", expected " +
         std::to_string(expected) + ")";
}

// Who reads x on the way back.
std::string reader_of_input(const PassPlan& plan) {
  if (!plan.options.residual) return "it is evaluated again from there";
  if (plan.walk.stores == Stores::nothing && plan.first_tape > 0) return "keep_input compares with it";
  return find_plan(plan.options.reconstruction).name + " keeps it";
}

}  // namespace

template <typename Name>
void Versions::note(std::vector<Noted>& list, const Tensor& tensor, const Name& name) {
  try {
    list.push_back({tensor, tensor.const_data_ptr(), tensor_version(tensor)});
  } catch (const Error& error) {
    throw Error(name() + ": " + error.what());
  }
}

void Versions::note_parameters(const PassPlan& plan, const std::vector<Tensor>& parameters) {
  parameters_.reserve(parameters.size());
  for (const Tensor& parameter : parameters) {
    note(parameters_, parameter, [&] { return parameter_name(plan, parameters_.size()); });
  }
}

void Versions::note_input(const Tensor& x) {
  note(input_, x, [] { return std::string("x"); });
}

void Versions::note_output(const Tensor& output) {
  note(output_, output, [] { return std::string("the output"); });
}

void Versions::check(const PassPlan& plan) const {
  const auto check_all = [](const std::vector<Noted>& list, const auto& name, const auto& why) {
    for (size_t i = 0; i < list.size(); ++i) {
      const bool moved = list[i].tensor.const_data_ptr() != list[i].memory;
      const int64_t version = tensor_version(list[i].tensor);
      if (!moved && version == list[i].version) continue;
      throw Error(name(i) + change_text(moved, version, list[i].version) + why() +
                  "; run the forward pass again before the backward pass");
    }
  };
  check_all(
      parameters_, [&](size_t i) { return parameter_name(plan, i); }, [] { return std::string(); });
  check_all(
      input_, [](size_t) { return std::string("x"); }, [&] { return ", and " + reader_of_input(plan); });
  check_all(
      output_, [](size_t) { return std::string("the output"); },
      [&] { return plan.options.residual ? ", and the way back starts from it" : ", and the way back reads it"; });
}

}  // namespace resnet_nodes
