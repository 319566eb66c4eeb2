package push

import "github.com/gatepass/gatepass/broker/gateway/pktline"

// encode writes the request as git would. [ReadRequest] reads it back unchanged.
func (q *Request) encode() []byte {
	to := make([]byte, 0, q.size())
	line := make([]byte, 0, maxLine)
	for _, oid := range q.Shallow {
		line = append(append(append(line[:0], "shallow "...), oid...), '\n')
		to = pktline.Append(to, line)
	}
	for i, c := range q.Commands {
		line = append(append(append(line[:0], c.Old...), ' '), c.New...)
		line = append(append(line, ' '), c.Ref...)
		if i == 0 {
			line = q.Capabilities.append(append(line, 0))
		}
		to = pktline.Append(to, line)
	}
	return append(to, pktline.FlushPacket...)
}

// size estimates how many bytes encode writes.
func (q *Request) size() int {
	size := 512 + 80*len(q.Shallow)
	for _, c := range q.Commands {
		size += len(c.Ref) + 2*len(c.Old) + 8
	}
	return size
}
