package article

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestArticle(t *testing.T) { harness.Run(t, "The article's scenario") }
