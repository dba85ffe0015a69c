defmodule GreetingTest do
  use ExUnit.Case

  test "Bob hears what Ann says" do
    assert Greeting.hear("hi") == "hi"
  end
end
