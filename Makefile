# weir: a service load balancer inside Kubernetes. Each target is one script of ci/ that also runs by hand.

.DEFAULT_GOAL := help
.PHONY: help build demo demo-down test test-unit e2e bench lint fmt generate verify-generated mutants kernels fuzz clean \
	e2e-image images kind-up kind-down

help: ## list the targets
	@ci/help.sh

build: ## compile the programs into bin/
	@ci/build.sh

demo: ## install what lacks, build, and play the article's scenario in namespaces (as root)
	@ci/demo.sh

demo-down: ## remove the topology that the demo left standing
	@ci/demo.sh down

test: ## units, packet tables and the article's scenario (as root, 10 minutes at most)
	@ci/test.sh vet unit article

test-unit: ## units and packet tables only; RACE=1 with the race detector
	@ci/test.sh unit

e2e: ## every scenario, and the article in a Kubernetes cluster made by kind (as root)
	@ci/test.sh e2e

e2e-image: ## the node image of that cluster, for machines without a registry (as root; 15 minutes the first time)
	@ci/nodeimage.sh

kind-up: ## that cluster, left standing to look at (as root)
	@ci/kind.sh up

kind-down: ## remove the cluster that kind-up left standing
	@ci/kind.sh down

images: ## weir's container images, for this machine's architecture, without a daemon
	@ci/images.sh

bench: ## measure weir beside floors, nftables, iptables, HAProxy (as root, 15 minutes); QUICK=1, ONLY=regex
	@ci/bench.sh

lint: ## gofmt, go vet, golangci-lint, clang-format, shellcheck, what deploy renders to, and the house rules
	@ci/lint.sh

fmt: ## format Go and C in place
	@ci/fmt.sh

generate: ## compile the BPF objects and their Go again, and make docs/reference.md (needs clang-19, installs it)
	@ci/generate.sh

verify-generated: ## fail if the committed BPF objects or docs/reference.md are not what generate makes
	@ci/generate.sh verify

mutants: ## break bpf/lib line by line and see that the packet tables catch each
	@ci/mutants.sh

kernels: ## boot Debian's 6.1 and 6.12 in qemu: programs load, packet tables pass, hooks attach (as root)
	@ci/kernels.sh

fuzz: ## feed every parser that reads from outside with what nobody sends, some seconds each
	@ci/fuzz.sh

clean: ## remove bin/ and build/
	@ci/clean.sh
