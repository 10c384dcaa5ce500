// Package checks counts named checks and holds what the Go libraries' programs share: records to compare, and a group
// of two members. A check compares what came back with what was sent, or it fails: none passes by doing nothing.
package checks

import (
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

const Partitions = 4

var (
	Bootstrap      = os.Getenv("BOOTSTRAP")
	Run            = fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano()/1000%1_000_000_000)
	passed, failed int
)

// Check runs a body that panics when something is not as it should be.
func Check(name string, body func()) {
	begin := time.Now()
	done := make(chan any, 1)
	go func() {
		defer func() {
			problem := recover()
			if problem != nil {
				problem = fmt.Sprintf("%v\n%s", problem, debug.Stack())
			}
			done <- problem
		}()
		body()
	}()
	var problem any
	select {
	case problem = <-done:
	case <-time.After(100 * time.Second):
		problem = "not within 100 s"
	}
	if problem == nil {
		passed++
		fmt.Printf("ok      %s (%.1f s)\n", name, time.Since(begin).Seconds())
	} else {
		failed++
		fmt.Printf("FAILED  %s: %v\n", name, problem)
	}
}

func Finish(library string) {
	fmt.Printf("%s: %d passed, %d failed\n", library, passed, failed)
	if passed == 0 || failed > 0 {
		os.Exit(1)
	}
	os.Exit(0)
}

func Must(err error) {
	if err != nil {
		panic(err)
	}
}

func Ok[T any](value T, err error) T {
	Must(err)
	return value
}

func That(condition bool, format string, args ...any) {
	if !condition {
		panic(fmt.Sprintf(format, args...))
	}
}

func Equal[T any](want, got T, what string) {
	That(reflect.DeepEqual(want, got), "%s: expected %v, got %v", what, want, got)
}

// Fails: an error whose text has these words.
func Fails(words string, err error) {
	That(err != nil && strings.Contains(err.Error(), words), "expected %q, got %v", words, err)
}

func Eventually(what string, condition func() bool) {
	for end := time.Now().Add(60 * time.Second); !condition(); time.Sleep(30 * time.Millisecond) {
		That(time.Now().Before(end), "not within 60 s: %s", what)
	}
}

// Record i: some keys and values are null.
func Record(i int) (key, value []byte, timestamp time.Time) {
	if i%5 != 4 {
		key = fmt.Appendf(nil, "key-%d", i%7)
	}
	if i%11 != 10 || key == nil {
		value = []byte(fmt.Sprintf("record %d: ", i) + strings.Repeat("text to compress ", 8))
	}
	return key, value, time.UnixMilli(1_700_000_000_000 + int64(i))
}

// CompareRecord holds record i, as it came back from offset, against what was sent.
func CompareRecord(i int, offset int64, key, value []byte, timestamp time.Time, header string) {
	wantKey, wantValue, wantTime := Record(i)
	Equal(int64(i), offset, "offset")
	Equal(string(wantKey), string(key), "key")
	That((wantKey == nil) == (key == nil), "record %d: a null key", i)
	Equal(string(wantValue), string(value), "value")
	That((wantValue == nil) == (value == nil), "record %d: a null value", i)
	Equal(wantTime.UnixMilli(), timestamp.UnixMilli(), "timestamp")
	Equal(fmt.Sprint(i), header, "header")
}

// Member is what a member of a group has got, and which partitions it owns.
type Member struct {
	mutex sync.Mutex
	rows  []row
	owned map[int32]bool
	err   error
}

type row struct {
	partition int32
	value     string
}

func (m *Member) Got(partition int32, value []byte) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.rows = append(m.rows, row{partition, string(value)})
}

// Owns: these partitions more, or less.
func (m *Member) Owns(partitions []int32, own bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.owned == nil {
		m.owned = map[int32]bool{}
	}
	for _, p := range partitions {
		if own {
			m.owned[p] = true
		} else {
			delete(m.owned, p)
		}
	}
}

func (m *Member) Failed(err error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if err != nil && m.err == nil {
		m.err = err
	}
}

func (m *Member) partitions() []int32 {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.err != nil {
		panic(m.err)
	}
	var all []int32
	for p := range m.owned {
		all = append(all, p)
	}
	slices.Sort(all)
	return all
}

func (m *Member) count() int {
	m.partitions()
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return len(m.rows)
}

func values(members ...*Member) []string {
	var all []string
	for _, m := range members {
		for _, r := range m.rows {
			all = append(all, r.value)
		}
	}
	slices.Sort(all)
	return all
}

func numbered(first, end int) []string {
	var all []string
	for i := first; i < end; i++ {
		all = append(all, fmt.Sprintf("value %d", i))
	}
	slices.Sort(all)
	return all
}

// GroupOfTwo: a member alone, a second that takes half, the first that leaves; each record once, and to its owner.
// open starts a member that reads, commits and reports, and gives what closes it; produce sends values
// first..first+count, evenly to the four partitions.
func GroupOfTwo(open func(m *Member) func(), produce func(first, count int)) {
	every := []int32{0, 1, 2, 3}
	a, b, c := &Member{}, &Member{}, &Member{}
	closeA := open(a)
	Eventually("one member", func() bool { return slices.Equal(a.partitions(), every) })
	produce(0, 200)
	Eventually("200 records", func() bool { return a.count() >= 200 })
	closeB := open(b)
	Eventually("two members", func() bool {
		both := append(a.partitions(), b.partitions()...)
		slices.Sort(both)
		return len(a.partitions()) == 2 && slices.Equal(both, every)
	})
	ownedByA := a.partitions()
	produce(200, 200)
	Eventually("400 records", func() bool { return a.count()+b.count() >= 400 })
	Equal(300, a.count(), "records of the first")
	for _, r := range a.rows[200:] {
		That(slices.Contains(ownedByA, r.partition), "a record of partition %d, the other's", r.partition)
	}
	for _, r := range b.rows {
		That(!slices.Contains(ownedByA, r.partition), "a record of partition %d, the other's", r.partition)
	}
	closeA()
	Eventually("the second alone", func() bool { return slices.Equal(b.partitions(), every) })
	produce(400, 200)
	Eventually("600 records", func() bool { return a.count()+b.count() >= 600 })
	closeB()
	Equal(numbered(0, 600), values(a, b), "values of both")
	// And one that comes later goes on from there.
	produce(600, 40)
	closeC := open(c)
	Eventually("the member that came back", func() bool { return c.count() >= 40 })
	closeC()
	Equal(numbered(600, 640), values(c), "values after it came back")
}
