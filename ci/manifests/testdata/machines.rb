# machines.rb VAGRANTFILE: prints as JSON which machines a Vagrantfile asks for, as Vagrant itself would read it.
require 'json'

# Anything is what every other setting is given to.
class Anything
  def method_missing(*) = (yield Anything.new if block_given?) || self
  def respond_to_missing?(*) = true
end

class Machine < Anything
  attr_reader :facts

  def initialize(name) = @facts = { name: name, networks: [], scripts: [] }
  def vm = self
  def hostname=(name)
    @facts[:hostname] = name
  end
  def network(kind, ip:, netmask:) = @facts[:networks] << { kind: kind, ip: ip, netmask: netmask }
  def provision(kind, path:) = @facts[:scripts] << { kind: kind, path: path }
end

class Config < Anything
  attr_reader :machines

  def initialize = @machines = []
  def vm = self
  def define(name)
    @machines << Machine.new(name)
    yield @machines.last
  end
end

module Vagrant
  def self.has_plugin?(_) = false
  def self.configure(_)
    config = Config.new
    yield config
    puts JSON.generate(config.machines.map(&:facts))
  end
end

load ARGV[0]
