package load

import (
	"nines/spec"
)

func (b *block) judge(s *spec.Service) {}

func (d *decoder) validate(s *spec.Spec) {}
