module github.com/weir-lb/weir/ci/nodeimage/node

go 1.26.0
